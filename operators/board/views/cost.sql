-- What a score in the primary metric costs: means over the seeds of a cell. Times are those of the
-- device that computed each trial; compare them where `devices` is the same. Operations are the
-- same on all. Where a search chose the settings, its candidates cost `search_seconds` beside that.
CREATE VIEW cost AS
WITH cells AS (
    SELECT
        cell_id, avg(tune_seconds) AS tune_seconds, avg(evaluate_seconds) AS evaluate_seconds,
        avg(peak_memory_bytes) AS peak_memory_bytes,
        avg(trainable_parameters) AS trainable_parameters, avg(steps) AS steps,
        avg(tune_flops) AS tune_flops, avg(plain_tune_flops) AS plain_tune_flops,
        string_agg(DISTINCT device, ', ' ORDER BY device) AS devices
    FROM trials
    WHERE status = 'completed'
    GROUP BY cell_id
),
searched AS (
    SELECT
        cell_id, sum(search_trials)::BIGINT AS search_trials, sum(search_seconds) AS search_seconds
    FROM searches
    WHERE chosen
    GROUP BY cell_id
)
SELECT
    method, dataset, backbone, protocol, shots, split,
    CASE metric WHEN 'accuracy' THEN mean END AS accuracy, tune_seconds,
    evaluate_seconds, peak_memory_bytes, trainable_parameters, steps, n, devices, variant,
    cell_id, test_rows_per_class, setting, selection, views, tune_flops, plain_tune_flops,
    plain_tune_flops / nullif(tune_flops, 0) AS times_fewer_flops, metric, mean, search_trials,
    search_seconds
FROM leaderboard
JOIN cells USING (cell_id)
LEFT JOIN searched USING (cell_id)
WHERE is_primary
ORDER BY
    protocol, dataset, shots_order(shots), backbone, split, goodness(mean, better) DESC, method,
    variant, cell_id;
