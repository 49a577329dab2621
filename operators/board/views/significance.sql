-- Every two cells on the same episodes: dataset, backbone, protocol, shots, seed and drawn rows. A
-- cell with 0 shots has no episode: it is compared with every seed of the other. A pair is there from
-- either side, so that a filter on method_a finds all of it. Tests are computed when the board is
-- filled (comparing.py): over seeds (p) and over test images (p_images). Holm's correction is over
-- the pairs of one table: the same protocol, dataset, backbone, shots, split and test rows; the macro
-- `holm` corrects for the pairs of a query.
CREATE VIEW significance AS
WITH sides AS (
    SELECT * FROM comparisons
    UNION ALL BY NAME
    SELECT * REPLACE (
        cell_b AS cell_a, cell_a AS cell_b, mean_b AS mean_a, mean_a AS mean_b,
        -difference AS difference, only_b AS only_a, only_a AS only_b,
        -bootstrap_high AS bootstrap_low, -bootstrap_low AS bootstrap_high
    )
    FROM comparisons
),
names AS (SELECT DISTINCT cell_id, method, variant FROM trials)
SELECT
    a.method AS method_a, b.method AS method_b, protocol, dataset, shots, backbone, split,
    metric, mean_a, mean_b, difference, std,
    difference - seeds_half(std, n, t) AS ci95_low,
    difference + seeds_half(std, n, t) AS ci95_high,
    p, n, a.variant AS variant_a, b.variant AS variant_b, cell_a, cell_b, test_rows_per_class,
    p_holm, difference / nullif(std, 0) AS effect_seeds, images, only_a, only_b,
    difference - 1.959963984540054 * images_std_error AS images_ci95_low,
    difference + 1.959963984540054 * images_std_error AS images_ci95_high,
    p_images, p_images_holm, only_a / nullif(only_a + only_b, 0) - 0.5 AS effect_images, pairs,
    bootstrap_low AS bootstrap_ci95_low, bootstrap_high AS bootstrap_ci95_high
FROM sides
JOIN names AS a ON a.cell_id = cell_a
JOIN names AS b ON b.cell_id = cell_b
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, dataset, shots_order(shots), backbone, split, method_a, variant_a, method_b,
    variant_b;
