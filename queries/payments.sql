-- What does a stream of card payments look like?
--
-- Makes 16,000 payments, 2,000 per second, always the same ones, and writes them to the topic "payments": keyed by card, so
-- that the payments of one card stay in order, over 4 partitions. Most are small, near and in the day; a few are not.
--
--   vatic run queries/payments.sql
--   vatic consume payments

CREATE TABLE clock WITH (connector = 'generator', rows = 16000, rate = 2000);

CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT)
WITH (connector = 'kafka', topic = 'payments', format = 'json',
      topic.partitions = 4, key.format = 'raw', key.columns = 'card');

INSERT INTO payments
SELECT n,
       'card-' || CAST(floor(500 * uniform(n, 'card')) AS BIGINT),
       round(exp(3.5 + 1.1 * normal(n, 'amount')), 2),
       floor(24 * uniform(n, 'hour')),
       round(-12 * ln(1 - uniform(n, 'near'))
             + CASE WHEN uniform(n, 'travels') < 0.06 THEN 200 + 2800 * uniform(n, 'far') ELSE 0 END, 1),
       floor(-1.2 * ln(1 - uniform(n, 'calm')))
             + CASE WHEN uniform(n, 'hurries') < 0.04 THEN floor(4 + 11 * uniform(n, 'busy')) ELSE 0 END
FROM clock;
