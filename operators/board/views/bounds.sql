-- What the labelled images of a trial promise of its prompt in words, beside what the test images say: a
-- PAC-Bayes bound on the error, which fails in a share `delta` of all draws at most, the error on
-- the images that the prompt was chosen on, and how improbable it was before any was seen. `slack`
-- is the bound less the test error. The bound is of the classes that were learned, so test rows of
-- other classes or data sets have no row here.
CREATE VIEW bounds AS
WITH told AS (
    SELECT
        trial_id, cell_id, method, dataset, backbone, protocol, shots, seed, setting, variant,
        found->>'template' AS template,
        CAST(found->>'train_error' AS DOUBLE) AS train_error,
        CAST(found->>'train_examples' AS DOUBLE)::BIGINT AS train_examples,
        CAST(found->>'complexity_nats' AS DOUBLE) AS complexity_nats,
        CAST(found->>'error_bound' AS DOUBLE) AS error_bound,
        CAST(found->>'delta' AS DOUBLE) AS delta, found->>'prior' AS prior
    FROM trials
    WHERE status = 'completed' AND tested_on = 'test' AND found->>'error_bound' IS NOT NULL
)
SELECT
    told.method, told.dataset, told.backbone, told.protocol, told.shots, told.seed, told.setting,
    told.variant, template, prior, delta, train_examples, train_error, complexity_nats, error_bound,
    1 - value AS test_error, error_bound - (1 - value) AS slack, metrics.n, split, told.trial_id,
    told.cell_id
FROM told
JOIN metrics USING (trial_id)
WHERE metric = 'accuracy' AND split IN ('all', 'base')
ORDER BY told.protocol, told.dataset, told.backbone, shots_order(told.shots), slack, told.method,
    told.variant, told.seed, told.trial_id;
