-- What an accuracy costs: means over the seeds of a cell. Times are those of the device that
-- computed each trial; compare them where `devices` is the same.
CREATE VIEW cost AS
WITH cells AS (
    SELECT
        cell_id, avg(tune_seconds) AS tune_seconds, avg(evaluate_seconds) AS evaluate_seconds,
        avg(peak_memory_bytes) AS peak_memory_bytes,
        avg(trainable_parameters) AS trainable_parameters, avg(steps) AS steps,
        string_agg(DISTINCT device, ', ' ORDER BY device) AS devices
    FROM trials
    WHERE status = 'completed'
    GROUP BY cell_id
)
SELECT
    method, dataset, backbone, protocol, shots, split, mean AS accuracy, tune_seconds,
    evaluate_seconds, peak_memory_bytes, trainable_parameters, steps, n, devices, variant,
    cell_id, test_rows_per_class, setting, selection, views
FROM leaderboard
JOIN cells USING (cell_id)
WHERE metric = 'accuracy'
ORDER BY protocol, dataset, shots, backbone, split, accuracy DESC, method, variant, cell_id;
