-- How does a file get into a topic, with a model's opinion beside each line?
--
-- Reads a CSV file once and writes one JSON record per line, with the species that the model sees in the four measurements.
-- The job remembers how far it got: run again, it writes only lines that are new.
--
--   vatic publish iris queries/models/iris_species.onnx
--   vatic run --until-end queries/flowers.sql
--   vatic consume flowers

CREATE TABLE measured (id INT, sepal_length DOUBLE, sepal_width DOUBLE, petal_length DOUBLE, petal_width DOUBLE)
WITH (connector = 'file', path = 'flowers/input.csv', format = 'csv');

CREATE TABLE flowers WITH (connector = 'kafka', topic = 'flowers', format = 'json') AS
SELECT id, petal_length, petal_width,
       classify('iris', sepal_length, sepal_width, petal_length, petal_width) AS species,
       score('iris', sepal_length, sepal_width, petal_length, petal_width) AS certainty
FROM measured;
