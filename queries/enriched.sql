-- Where were today's sales made, and who is responsible there?
--
-- The stream knows only the number of a shop; what it means stands in a file. A plain SELECT reads the topic to its present
-- end, joins the file, and ends. A sale in a shop that is not in the file keeps its row. As JSON lines it goes into any pipe.
--
--   vatic produce sales queries/enriched/input.jsonl
--   vatic run --format json queries/enriched.sql

CREATE TABLE sales (id BIGINT, shop INT, amount DECIMAL(10, 2), at TIMESTAMP)
WITH (connector = 'kafka', topic = 'sales', format = 'json');

CREATE TABLE shops (shop INT, city VARCHAR, country VARCHAR, manager VARCHAR)
WITH (connector = 'file', path = 'enriched/shops.csv', format = 'csv');

SELECT sales.id, sales.amount, sales.at, shops.city, shops.manager,
       sum(sales.amount) OVER (PARTITION BY shops.country) AS amount_in_country
FROM sales LEFT JOIN shops ON sales.shop = shops.shop
ORDER BY sales.id;
