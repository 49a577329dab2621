-- What was searched: one row for each candidate in each cell, by the primary metric on the validation
-- rows of its draws, the mean over seeds by which it was or was not chosen. Seconds are those of all
-- its trials. `cell_id` is the cell of the same settings with test rows, which is on the leaderboard
-- where the candidate was chosen. What has one choice for a whole suite is chosen by the mean over
-- `chosen_on` cells of these means; `chosen` is NULL where the run ended before. `search_trials` and
-- `search_seconds` are of all candidates in the cell together.
CREATE VIEW searches AS
WITH known AS (
    SELECT
        cell_id AS candidate_cell_id, any_value(method) AS method, any_value(backbone) AS backbone,
        any_value(dataset) AS dataset, any_value(protocol) AS protocol, any_value(shots) AS shots,
        any_value(held_out) AS held_out, count(*) FILTER (status = 'completed') AS trials,
        count(*) FILTER (status = 'failed') AS failed, sum(tune_seconds) AS tune_seconds,
        sum(evaluate_seconds) AS evaluate_seconds
    FROM trials
    WHERE tested_on = 'val'
    GROUP BY cell_id
),
judged AS (
    SELECT
        cell_id AS candidate_cell_id, metric, whole_mean(value) AS mean, whole_std(value) AS std
    FROM trials
    JOIN metrics USING (trial_id)
    JOIN protocols USING (protocol)
    WHERE tested_on = 'val' AND split = 'val' AND metric = primary_metric
    GROUP BY cell_id, metric
)
SELECT
    suite, method, dataset, backbone, protocol, shots, held_out, candidate, settings, metric, mean,
    std, trials, failed, chosen, tune_seconds, evaluate_seconds, candidates, chosen_by,
    CASE chosen_by WHEN 'suite' THEN count(*) OVER (PARTITION BY search_id, candidate) ELSE 1 END
        AS chosen_on,
    cell_id, candidate_cell_id, search_id, run_id, sum(trials) OVER own AS search_trials,
    sum(tune_seconds + evaluate_seconds) OVER own AS search_seconds
FROM search_candidates
JOIN known USING (candidate_cell_id)
LEFT JOIN judged USING (candidate_cell_id)
WINDOW own AS (PARTITION BY search_id, dataset, backbone, protocol, shots, held_out)
ORDER BY suite, method, protocol, dataset, backbone, shots, held_out, search_id, candidate;
