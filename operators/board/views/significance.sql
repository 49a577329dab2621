-- Paired comparison of every two cells on the same episodes: the same dataset, backbone,
-- protocol, shots, seed and drawn rows. A cell with 0 shots has no episode: its mean is compared
-- with every seed of the other. A pair is there from either side, so that a filter on method_a
-- finds all of it. The p value is that of the two-sided paired t test, by the finite sums of
-- Abramowitz and Stegun 26.7.3 and 26.7.4; NULL where differences do not vary but are not 0.
CREATE VIEW significance AS
WITH accuracies AS (
    SELECT
        cell_id, method, variant, shots, seed, episode_fingerprint, value,
        {
            protocol: protocol, dataset: dataset, dataset_fingerprint: dataset_fingerprint,
            backbone: backbone, backbone_fingerprint: backbone_fingerprint, split: split,
            test_rows_per_class: test_rows_per_class
        } AS ground
    FROM scores
    WHERE metric = 'accuracy'
),
fixed AS (
    SELECT cell_id, shots, ground, avg(value) AS value
    FROM accuracies
    WHERE shots = 0
    GROUP BY ALL
),
pairs AS (
    SELECT
        a.cell_id AS cell_a, b.cell_id AS cell_b, ground, a.shots,
        a.value AS value_a, b.value AS value_b
    FROM accuracies AS a
    JOIN accuracies AS b USING (ground, shots, seed, episode_fingerprint)
    WHERE a.shots > 0 AND a.cell_id <> b.cell_id
    UNION ALL
    SELECT a.cell_id, b.cell_id, ground, a.shots, a.value, b.value
    FROM accuracies AS a
    JOIN fixed AS b USING (ground)
    WHERE a.shots > 0
    UNION ALL
    SELECT a.cell_id, b.cell_id, ground, b.shots, a.value, b.value
    FROM fixed AS a
    JOIN accuracies AS b USING (ground)
    WHERE b.shots > 0
    UNION ALL
    SELECT a.cell_id, b.cell_id, ground, 0, a.value, b.value
    FROM fixed AS a
    JOIN fixed AS b USING (ground)
    WHERE a.cell_id <> b.cell_id
),
differences AS (
    SELECT
        cell_a, cell_b, ground, shots, count(*) AS n, avg(value_a) AS mean_a,
        avg(value_b) AS mean_b, avg(value_a - value_b) AS difference,
        stddev_samp(value_a - value_b) AS spread,
        CASE WHEN spread < 1e-12 THEN 0 ELSE spread END AS std
    FROM pairs
    GROUP BY cell_a, cell_b, ground, shots
),
tests AS (
    SELECT
        *, n - 1 AS v, abs(difference) / (std / sqrt(n)) AS statistic,
        v / (v + statistic ** 2) AS cos2, sqrt(1 - cos2) AS sine
    FROM differences
),
names AS (SELECT DISTINCT cell_id, method, variant FROM trials)
SELECT
    a.method AS method_a, b.method AS method_b, ground.protocol AS protocol,
    ground.dataset AS dataset, shots, ground.backbone AS backbone, ground.split AS split,
    'accuracy' AS metric, mean_a, mean_b, difference, std,
    difference - t * std / sqrt(n) AS ci95_low,
    difference + t * std / sqrt(n) AS ci95_high,
    CASE
        WHEN n < 2 THEN NULL
        WHEN std = 0 THEN CASE WHEN abs(difference) < 1e-12 THEN 1.0 END
        WHEN v % 2 = 0 THEN greatest(0, 1 - sine * list_sum(list_transform(
            range(0, v // 2),
            lambda k: exp(lgamma(k + 0.5) - lgamma(k + 1)) / sqrt(pi()) * cos2 ** k
        )))
        ELSE greatest(0, 1 - 2 / pi() * (atan(statistic / sqrt(v)) + coalesce(
            sine * sqrt(cos2) * list_sum(list_transform(
                range(0, (v - 1) // 2),
                lambda k: sqrt(pi()) / 2 * exp(lgamma(k + 1) - lgamma(k + 1.5)) * cos2 ** k
            )), 0)))
    END AS p,
    n, a.variant AS variant_a, b.variant AS variant_b, cell_a, cell_b,
    ground.test_rows_per_class AS test_rows_per_class
FROM tests
JOIN names AS a ON a.cell_id = cell_a
JOIN names AS b ON b.cell_id = cell_b
LEFT JOIN t_values ON df = least(v, 200)
ORDER BY protocol, dataset, shots, backbone, split, method_a, variant_a, method_b, variant_b;
