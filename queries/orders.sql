-- How do nested records become rows, and rows nested records?
--
-- Each order has a customer (an object), lines (an array of objects) and labels (any names, one type of value). Every line
-- of an order becomes a record of its own, which is nested again.
--
--   vatic produce orders queries/orders/input.jsonl
--   vatic run --until-end queries/orders.sql
--   vatic consume order_lines

CREATE TABLE orders (
  id BIGINT NOT NULL,
  placed TIMESTAMP,
  customer STRUCT<name VARCHAR, address STRUCT<city VARCHAR, country VARCHAR>>,
  lines ARRAY<STRUCT<sku VARCHAR, quantity INT, price DECIMAL(10, 2)>>,
  labels MAP<VARCHAR, VARCHAR>)
WITH (connector = 'kafka', topic = 'orders', format = 'json');

CREATE TABLE order_lines WITH (connector = 'kafka', topic = 'order_lines', format = 'json') AS
SELECT id AS order_id, placed,
       named_struct('name', customer.name, 'city', customer.address.city) AS customer,
       line.sku AS sku, line.quantity * line.price AS total,
       labels['campaign'] AS campaign
FROM (SELECT id, placed, customer, labels, unnest(lines) AS line FROM orders);
