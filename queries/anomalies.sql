-- Which machines behave as no healthy one does?
--
-- The model knows how temperature, vibration and current belong together in healthy machines; its score falls below 0 where
-- they do not. How far below is an alarm is not the model's business: the threshold is a parameter of the query.
--
--   vatic publish machine queries/models/machine.onnx
--   vatic produce readings queries/anomalies/input.jsonl
--   vatic run --until-end --param threshold=-1 queries/anomalies.sql
--   vatic consume alarms

CREATE TABLE readings (id BIGINT, machine VARCHAR, at TIMESTAMP, temperature DOUBLE, vibration DOUBLE, amperes DOUBLE)
WITH (connector = 'kafka', topic = 'readings', format = 'json');

CREATE TABLE alarms WITH (connector = 'kafka', topic = 'alarms', format = 'json') AS
SELECT id, machine, at, temperature, vibration, amperes, normality
FROM (SELECT *, score('machine', temperature, vibration, amperes) AS normality FROM readings)
WHERE normality < $threshold;
