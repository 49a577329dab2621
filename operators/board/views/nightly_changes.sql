-- What moved between the last two finished runs of each suite, runs of a part of it left aside, by
-- what each of the two saw. Which cell is compared with which, and `cause`, are told when the board is
-- filled (changes.py). `by itself` stands where a trial of the same id has another number.
-- `verdict` says whether a mean moved beyond chance: it lies outside the interval over seeds of the
-- run before, or the two differ on the test images (significance). The board has no predictions of a
-- number that moved by itself, so where no interval over seeds is known either, it is Wilson's.
CREATE VIEW nightly_changes AS
WITH judged AS (
    SELECT
        changes.*, better, difference, p_images,
        seeds_low(previous_mean, previous_std, previous_n, t, low) AS previous_ci95_low,
        seeds_high(previous_mean, previous_std, previous_n, t, high) AS previous_ci95_high,
        CASE WHEN proportion AND p_images IS NULL AND previous_ci95_low IS NULL
            THEN wilson_low(previous_mean, previous_test_rows) END AS images_low,
        CASE WHEN proportion AND p_images IS NULL AND previous_ci95_high IS NULL
            THEN wilson_high(previous_mean, previous_test_rows) END AS images_high,
        NOT current_mean BETWEEN coalesce(previous_ci95_low, images_low)
            AND coalesce(previous_ci95_high, images_high) AS outside
    FROM (SELECT *, current_mean - previous_mean AS difference FROM changes) AS changes
    LEFT JOIN metric_definitions USING (metric)
    LEFT JOIN t_values ON df = least(previous_n - 1, 200)
    LEFT JOIN (SELECT cell_a, cell_b, split, metric, p_images FROM comparisons) AS compared
        ON compared.split = changes.split AND compared.metric = changes.metric
        AND cell_a = least(previous_cell_id, current_cell_id)
        AND cell_b = greatest(previous_cell_id, current_cell_id)
)
SELECT
    judged.suite, protocol, dataset, shots, backbone, method, variant, split, metric, change,
    previous_mean, current_mean, difference, previous_n, current_n, cause, previous_cell_id,
    current_cell_id, previous.started_at AS previous_run_at, latest.started_at AS current_run_at,
    previous_variant, moved_trials, previous_run_id, current_run_id,
    previous_ci95_low, previous_ci95_high, p_images,
    CASE
        WHEN change <> 'moved' THEN NULL
        WHEN difference IS NULL OR (outside IS NULL AND p_images IS NULL) THEN 'unknown'
        WHEN NOT (coalesce(outside, false) OR coalesce(p_images < 0.05, false)) THEN 'within'
        WHEN goodness(difference, better) < 0 THEN 'regressed'
        ELSE 'improved'
    END AS verdict
FROM judged
JOIN runs AS previous ON previous.run_id = previous_run_id
JOIN runs AS latest ON latest.run_id = current_run_id
ORDER BY
    judged.suite, change, protocol, dataset, shots_order(shots), backbone, method, variant, split,
    metric;
