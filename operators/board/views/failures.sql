-- Trials that did not complete: the last error of each, and the latest run that asked for it until
-- then.
CREATE VIEW failures AS
WITH asked AS (
    SELECT
        trial_id,
        max_by(
            run_id, (coalesce(runs.flow_run_id = trials.flow_run_id, false), runs.started_at)
        ) AS run_id
    FROM trials
    JOIN run_trials USING (trial_id)
    JOIN runs USING (run_id)
    WHERE trials.status = 'failed' AND runs.started_at <= coalesce(failed_at, runs.started_at)
    GROUP BY trial_id
)
SELECT
    trial_id, error, failed_at, suite, run_id, method, variant, backbone, dataset, protocol, shots,
    seed, hyperparameters, cell_id, flow_run_id
FROM trials
LEFT JOIN asked USING (trial_id)
WHERE status = 'failed'
ORDER BY failed_at DESC, trial_id;
