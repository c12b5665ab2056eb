-- Can each row choose its own model?
--
-- The model's name is made from a column: payments in a shop are judged by "fraud-shop", those on the web by "fraud-web".
-- Rows are grouped by model inside the batch. A channel without a model ("phone") gets NULL, and the job says so once.
--
--   vatic publish fraud-shop queries/models/fraud_v1.onnx
--   vatic publish fraud-web queries/models/fraud_v2.onnx
--   vatic produce purchases queries/routed/input.jsonl
--   vatic run --until-end queries/routed.sql
--   vatic consume judged

CREATE TABLE purchases (id BIGINT, channel VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT)
WITH (connector = 'kafka', topic = 'purchases', format = 'json');

CREATE TABLE judged WITH (connector = 'kafka', topic = 'judged', format = 'json') AS
SELECT id, channel, verdict.model AS model, verdict.score AS risk, verdict.label AS label
FROM (SELECT *, predict('fraud-' || channel, amount, hour, distance_km, tx_last_hour) AS verdict FROM purchases);
