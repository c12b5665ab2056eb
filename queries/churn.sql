-- Which customers are about to leave, and what should we do about each?
--
-- The model takes a text and four numbers; as a struct they are matched by name, so their order does not matter. What is risky
-- enough goes to the topic "leaving" with what to do, keyed by customer: a later verdict replaces an earlier one for whoever
-- reads the topic as a table.
--
--   vatic publish churn queries/models/churn.onnx
--   vatic produce customers queries/churn/input.jsonl
--   vatic run --until-end queries/churn.sql
--   vatic consume leaving

CREATE TABLE customers (id BIGINT, plan VARCHAR, tenure_months INT, monthly_fee DOUBLE, support_calls INT, days_since_login INT)
WITH (connector = 'kafka', topic = 'customers', format = 'json');

CREATE TABLE leaving WITH (connector = 'kafka', topic = 'leaving', format = 'json', key.format = 'json', key.columns = 'id') AS
SELECT id, plan, risk,
       CASE WHEN risk > 0.75 AND plan = 'pro' THEN 'call' WHEN risk > 0.75 THEN 'offer a discount' ELSE 'write' END AS action
FROM (SELECT *, score('churn', {'plan': plan, 'monthly_fee': monthly_fee, 'tenure_months': tenure_months,
                                'support_calls': support_calls, 'days_since_login': days_since_login}) AS risk
      FROM customers)
WHERE risk > 0.5;
