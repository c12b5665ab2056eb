-- Where would the new model decide otherwise than the old one?
--
-- Both versions score every payment side by side, 'fraud:1' and 'fraud:2' being fixed whatever goes live meanwhile; the payments on
-- which they disagree go to a topic of their own, with both opinions. Nothing that is in production notices.
--
--   vatic publish fraud queries/models/fraud_v1.onnx
--   vatic publish fraud queries/models/fraud_v2.onnx
--   vatic produce payments queries/compared/input.jsonl
--   vatic run --until-end --param limit=0.5 queries/compared.sql
--   vatic consume disagreements

CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT)
WITH (connector = 'kafka', topic = 'payments', format = 'json');

CREATE TABLE disagreements WITH (connector = 'kafka', topic = 'disagreements', format = 'json') AS
SELECT id, card, amount, hour, old_risk, new_risk, new_risk - old_risk AS change,
       CASE WHEN new_risk > $limit THEN 'new alert' ELSE 'no alert any more' END AS effect
FROM (SELECT *, score('fraud:1', amount, hour, distance_km, tx_last_hour) AS old_risk,
                score('fraud:2', amount, hour, distance_km, tx_last_hour) AS new_risk
      FROM payments)
WHERE (old_risk > $limit) <> (new_risk > $limit);
