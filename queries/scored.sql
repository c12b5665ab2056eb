-- How risky is each payment, and which model said so?
--
-- Every payment goes to the topic "scored" with everything that predict() knows: the risk, the label, the probabilities, and
-- the lineage (model, version, hash of its file, its offset on the model topic, and where the payment came from).
-- A new version of "fraud" scores from the next epoch on; each row says which one it was.
--
--   vatic publish fraud queries/models/fraud_v1.onnx
--   vatic produce payments queries/scored/input.jsonl
--   vatic run --until-end queries/scored.sql
--   vatic consume scored

CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT,
                       "partition" INT METADATA, "offset" BIGINT METADATA)
WITH (connector = 'kafka', topic = 'payments', format = 'json');

CREATE TABLE scored WITH (connector = 'kafka', topic = 'scored', format = 'json', topic.partitions = 4) AS
SELECT id, card, amount, hour, distance_km, tx_last_hour,
       fraud.score AS risk, fraud.label AS label, fraud.probabilities AS probabilities,
       fraud.model AS model, fraud.version AS version, fraud.sha256 AS sha256, fraud.registry_offset AS registry_offset,
       "partition" AS source_partition, "offset" AS source_offset
FROM (SELECT *, predict('fraud', amount, hour, distance_km, tx_last_hour) AS fraud FROM payments);
