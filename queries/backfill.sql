-- How does a file of history get into a topic, with the times at which things happened?
--
-- Each line of the file becomes a record with its own key and its own time, so that whoever reads the topic by time, or keeps the
-- latest of each key, sees what would have been seen then. A topic with retention would drop such records at once: this one keeps them.
--
--   vatic topic create history --config retention.ms=-1
--   vatic publish fraud queries/models/fraud_v1.onnx
--   vatic run --until-end queries/backfill.sql
--   vatic consume history

CREATE TABLE exported (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT, paid TIMESTAMP)
WITH (connector = 'file', path = 'backfill/payments.csv', format = 'csv');

CREATE TABLE history (id BIGINT, card VARCHAR, amount DOUBLE, paid TIMESTAMP, risk DOUBLE,
                      card_key VARCHAR METADATA FROM 'key', stamp TIMESTAMP METADATA FROM 'timestamp')
WITH (connector = 'kafka', topic = 'history', format = 'json');

INSERT INTO history (id, card, amount, paid, risk, card_key, stamp)
SELECT id, card, amount, paid, score('fraud', amount, hour, distance_km, tx_last_hour), card, paid FROM exported;
