-- What became of the records that could not be read, and how do they get another chance?
--
-- Amounts such as "7,50" are text where a number belongs: they become dead letters, and the job goes on. The second table reads
-- these letters, whatever the amount is (json.mixed), beside the headers that say what was wrong. What can be mended is booked by
-- another job, once; what cannot stays a letter. Run again, both jobs go on where they stopped.
--
--   vatic produce receipts queries/letters/input.jsonl
--   vatic run --until-end queries/letters.sql
--   vatic consume booked

CREATE TABLE receipts (id BIGINT, amount DOUBLE) WITH (connector = 'kafka', topic = 'receipts', format = 'json');

CREATE TABLE booked WITH (connector = 'kafka', topic = 'booked', format = 'json') AS
SELECT id, amount, 'at once' AS how FROM receipts;

CREATE TABLE letters (id BIGINT, amount VARCHAR, headers MAP<VARCHAR, BYTEA> METADATA)
WITH (connector = 'kafka', topic = 'vatic-dead-letters', format = 'json', json.mixed = 'amount', bad_records = 'skip');

SELECT CAST(headers['vatic.topic'] AS VARCHAR) AS topic, CAST(headers['vatic.reason'] AS VARCHAR) AS reason,
       count(*) AS letters, min(CAST(headers['vatic.error'] AS VARCHAR)) AS example
FROM letters GROUP BY 1, 2;

SET job.name = 'letters.replay';
INSERT INTO booked
SELECT id, CAST(replace(amount, ',', '.') AS DOUBLE), 'from a letter'
FROM letters
WHERE CAST(headers['vatic.job'] AS VARCHAR) = 'letters.booked' AND amount ~ '^[0-9]+([,.][0-9]+)?$';
