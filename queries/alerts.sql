-- Which payments look like fraud?
--
-- Scores every payment and keeps the risky ones. The model runs once per row although score() stands here twice, and only
-- for payments that pass the filter on the amount. A model published meanwhile takes over at the next epoch.
--
--   vatic publish fraud queries/models/fraud_v1.onnx
--   vatic produce payments queries/alerts/input.jsonl
--   vatic run --until-end queries/alerts.sql
--   vatic consume alerts

CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT)
WITH (connector = 'kafka', topic = 'payments', format = 'json');

CREATE TABLE alerts WITH (connector = 'kafka', topic = 'alerts', format = 'json') AS
SELECT id, card, amount, score('fraud', amount, hour, distance_km, tx_last_hour) AS risk
FROM payments
WHERE amount >= 20 AND score('fraud', amount, hour, distance_km, tx_last_hour) > 0.5;
