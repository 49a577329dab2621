-- Tables of the board. Names and order of columns are promised to users; new ones go last.
-- What each column means is in columns.csv, from where it becomes the column's comment.
-- Nothing is indexed: the builder keeps ids unique, and DuckDB's scans need no help.

-- The harmonic mean of two accuracies, 0 where both are; NULL where one of them is not known.
CREATE MACRO harmonic(base, new) AS
    CASE WHEN base + new > 0 THEN 2 * base * new / (base + new) WHEN base + new = 0 THEN 0 END;

-- Half of the 95 % interval of a mean over seeds. Seeds that all say the same, as one seed alone,
-- tell nothing of how far the next would be off: that is no certainty, and the answer is NULL.
CREATE MACRO seeds_half(std, n, t) AS CASE WHEN std > 1e-12 THEN t * std / sqrt(n) END;

-- Ends of that interval about a score, within what its metric can be; a bound may be NULL.
CREATE MACRO seeds_low(mean, std, n, t, low) AS
    CASE WHEN std > 1e-12 THEN greatest(low, mean - t * std / sqrt(n)) END;
CREATE MACRO seeds_high(mean, std, n, t, high) AS
    CASE WHEN std > 1e-12 THEN least(high, mean + t * std / sqrt(n)) END;

-- A score by which better ones come later, whichever its direction.
CREATE MACRO goodness(score, better) AS CASE better WHEN 'lower' THEN -score ELSE score END;

-- The published name of a method, without what a source adds to it in brackets or with asterisks.
CREATE MACRO without_additions(method) AS
    trim(regexp_replace(method, '(\s*\([^)]*\)|\*+)$', ''));

-- What numbers of shots are sorted by: -1, all of the train split, is more than any number.
CREATE MACRO shots_order(shots) AS CASE WHEN shots = -1 THEN 2147483647 ELSE shots END;

-- Mean and spread of scores; NULL where one of them is not known or no number. Sorted first, since
-- the last digit of a sum follows from its order: that of rows is the one in which trials ended.
CREATE MACRO whole_mean(score) AS CASE WHEN count(score) = count(*) THEN avg(score ORDER BY score) END;
CREATE MACRO whole_std(score) AS
    CASE WHEN count(score) = count(*) THEN stddev_samp(score ORDER BY score) END;

-- Holm's correction of a p value for the comparisons of a query, those that WHERE leaves:
-- SELECT .., holm(p, list(p) OVER ()) FROM .. . A NULL is no test and does not weigh.
CREATE MACRO holm(p, every) AS CASE WHEN p IS NOT NULL THEN
    least(1, list_max(list_transform(
        list_sort(list_filter(every, lambda q: q IS NOT NULL)),
        lambda q, place: CASE WHEN q <= p
            THEN q * (len(list_filter(every, lambda r: r IS NOT NULL)) - place + 1) END
    ))) END;

-- The setting of cells that are taken together: custom where one of them is.
CREATE MACRO joint_setting(setting) AS
    CASE WHEN min(setting) = max(setting) THEN min(setting) ELSE 'custom' END;

-- Wilson's 95 % interval of a share of n test images; none of a share that is not known, of which
-- `greatest` and `least` would make 0 and 1.
CREATE MACRO wilson_low(share, n) AS CASE WHEN share IS NOT NULL THEN greatest(0,
    (share + 3.8414588206941205 / (2 * n)
        - 1.959963984540054 * sqrt(share * (1 - share) / n + 3.8414588206941205 / (4 * n * n)))
    / (1 + 3.8414588206941205 / n)) END;
CREATE MACRO wilson_high(share, n) AS CASE WHEN share IS NOT NULL THEN least(1,
    (share + 3.8414588206941205 / (2 * n)
        + 1.959963984540054 * sqrt(share * (1 - share) / n + 3.8414588206941205 / (4 * n * n)))
    / (1 + 3.8414588206941205 / n)) END;

-- Variance of a share of n test images by Agresti and Coull, which is never 0: an image more or
-- less is possible also where all of them are right. It adds up over data sets.
CREATE MACRO images_variance(share, n) AS
    (share * n + 2) / (n + 4) * (1 - (share * n + 2) / (n + 4)) / (n + 4);

CREATE TABLE schema_version (version VARCHAR);

CREATE TABLE trials (
    trial_id VARCHAR NOT NULL,
    suite VARCHAR,
    method VARCHAR NOT NULL,
    method_revision INTEGER NOT NULL,
    backbone VARCHAR NOT NULL,
    backbone_fingerprint VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    dataset_fingerprint VARCHAR NOT NULL,
    protocol VARCHAR NOT NULL,
    shots INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    setting VARCHAR NOT NULL,
    selection VARCHAR NOT NULL,
    template_set VARCHAR NOT NULL,
    transform_version INTEGER NOT NULL,
    views VARCHAR NOT NULL,
    precision VARCHAR NOT NULL,
    hyperparameters JSON NOT NULL,
    status VARCHAR NOT NULL,
    error VARCHAR,
    started_at TIMESTAMP,
    tune_seconds DOUBLE,
    evaluate_seconds DOUBLE,
    peak_memory_bytes BIGINT,
    trainable_parameters BIGINT,
    device VARCHAR,
    torch_version VARCHAR,
    git_commit VARCHAR,
    episode_fingerprint VARCHAR,
    mlflow_run_id VARCHAR,
    flow_run_id VARCHAR,
    cell_id VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    test_rows_per_class INTEGER,
    steps BIGINT,
    protocol_revision INTEGER NOT NULL,
    failed_at TIMESTAMP,
    file_stamp VARCHAR,
    tune_flops BIGINT,
    plain_tune_flops BIGINT,
    teacher_trial_id VARCHAR,
    git_dirty BOOLEAN,
    threads INTEGER,
    cpu_model VARCHAR,
    cpu_capability VARCHAR,
    numpy_version VARCHAR,
    python_version VARCHAR,
    templates VARCHAR[],
    text_version INTEGER NOT NULL,
    aids JSON NOT NULL,
    targets JSON NOT NULL,
    held_out VARCHAR NOT NULL,
    losses DOUBLE[],
    origin VARCHAR,
    spec_setting VARCHAR NOT NULL,
    tested_on VARCHAR NOT NULL,
    fit_trial_id VARCHAR,
    found VARCHAR,
    composition VARCHAR NOT NULL
);

-- The lines that each cell is on: curves over shots and averages over data sets go along them.
CREATE TABLE cell_variants (cell_id VARCHAR NOT NULL, variant VARCHAR NOT NULL);

CREATE TABLE metrics (
    trial_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    n BIGINT NOT NULL
);

CREATE TABLE predictions (
    trial_id VARCHAR NOT NULL,
    split VARCHAR,
    row_id BIGINT,
    label INTEGER,
    predicted INTEGER,
    confidence FLOAT
);

-- Predictions counted: n rows of a label, of `of_label` in all, for which a class was predicted.
CREATE TABLE confusion_counts (
    trial_id VARCHAR NOT NULL,
    cell_id VARCHAR NOT NULL,
    split VARCHAR,
    tested_fingerprint VARCHAR NOT NULL,
    label INTEGER,
    predicted INTEGER,
    n BIGINT NOT NULL,
    of_label BIGINT NOT NULL
);

-- Names of the classes of every ingested version of every data set.
CREATE TABLE classes (
    dataset VARCHAR NOT NULL,
    dataset_fingerprint VARCHAR NOT NULL,
    label INTEGER NOT NULL,
    class VARCHAR NOT NULL
);

-- What the code says of its metrics, tracks and protocols.
CREATE TABLE metric_definitions (
    metric VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    better VARCHAR NOT NULL,
    low DOUBLE,
    high DOUBLE,
    unit VARCHAR NOT NULL,
    source VARCHAR,
    proportion BOOLEAN NOT NULL,
    columns VARCHAR[] NOT NULL
);

CREATE TABLE tracks (
    track VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    primary_metric VARCHAR NOT NULL,
    metrics VARCHAR[] NOT NULL,
    columns VARCHAR[] NOT NULL
);

CREATE TABLE protocols (
    protocol VARCHAR NOT NULL,
    track VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    primary_metric VARCHAR NOT NULL,
    tests VARCHAR NOT NULL,
    learns BOOLEAN NOT NULL,
    new_classes BOOLEAN NOT NULL,
    revision INTEGER NOT NULL,
    inference VARCHAR,
    unlabelled VARCHAR,
    lead VARCHAR
);

CREATE TABLE datasets (
    name VARCHAR,
    title VARCHAR,
    classes INTEGER,
    template VARCHAR,
    license VARCHAR,
    citation VARCHAR,
    source VARCHAR,
    fingerprint VARCHAR,
    trouble VARCHAR,
    card JSON
);

CREATE TABLE methods (
    method VARCHAR,
    title VARCHAR,
    source VARCHAR,
    revision INTEGER,
    trains BOOLEAN,
    needs JSON,
    transductive BOOLEAN,
    test_time BOOLEAN,
    external_knowledge BOOLEAN,
    descriptions BOOLEAN,
    teacher BOOLEAN,
    card JSON,
    unlabelled BOOLEAN,
    track VARCHAR,
    unsupervised BOOLEAN,
    stream BOOLEAN
);

CREATE TABLE backbones (
    backbone VARCHAR,
    family VARCHAR,
    fingerprint VARCHAR,
    feature_width INTEGER,
    source VARCHAR,
    license VARCHAR,
    capabilities JSON,
    card JSON,
    kind VARCHAR
);

CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    suite VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    flow_run_id VARCHAR,
    git_commit VARCHAR,
    partial BOOLEAN,
    git_dirty BOOLEAN,
    origin VARCHAR,
    status VARCHAR NOT NULL,
    ended_at TIMESTAMP,
    planned BIGINT NOT NULL,
    reused BIGINT,
    computed BIGINT,
    elsewhere BIGINT,
    failed BIGINT,
    error VARCHAR,
    host VARCHAR,
    pid BIGINT,
    process_started_at DOUBLE,
    process_key VARCHAR
);

CREATE TABLE run_trials (run_id VARCHAR NOT NULL, trial_id VARCHAR NOT NULL);

-- What was searched, one row for each candidate and cell, as the latest run that asked has it.
CREATE TABLE search_candidates (
    search_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    suite VARCHAR,
    chosen_by VARCHAR NOT NULL,
    names VARCHAR[] NOT NULL,
    candidate INTEGER NOT NULL,
    candidates INTEGER NOT NULL,
    settings JSON NOT NULL,
    candidate_cell_id VARCHAR NOT NULL,
    cell_id VARCHAR NOT NULL,
    chosen BOOLEAN
);

-- What each of the runs that are compared saw, whatever became of its trials since.
CREATE TABLE run_metrics (
    run_id VARCHAR NOT NULL,
    trial_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    n BIGINT NOT NULL
);

CREATE TABLE changes (
    suite VARCHAR,
    protocol VARCHAR,
    dataset VARCHAR,
    shots INTEGER,
    backbone VARCHAR,
    method VARCHAR,
    variant VARCHAR,
    split VARCHAR,
    metric VARCHAR,
    change VARCHAR,
    previous_mean DOUBLE,
    current_mean DOUBLE,
    previous_n BIGINT,
    current_n BIGINT,
    cause VARCHAR,
    previous_cell_id VARCHAR,
    current_cell_id VARCHAR,
    previous_run_id VARCHAR,
    current_run_id VARCHAR,
    previous_variant VARCHAR,
    moved_trials INTEGER,
    previous_std DOUBLE,
    previous_test_rows BIGINT
);

-- Every two cells on the same ground, once: the one with the lesser id first.
CREATE TABLE comparisons (
    protocol VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    dataset_fingerprint VARCHAR NOT NULL,
    backbone VARCHAR NOT NULL,
    backbone_fingerprint VARCHAR NOT NULL,
    test_rows_per_class INTEGER,
    split VARCHAR NOT NULL,
    shots INTEGER NOT NULL,
    cell_a VARCHAR NOT NULL,
    cell_b VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    mean_a DOUBLE,
    mean_b DOUBLE,
    difference DOUBLE,
    std DOUBLE,
    p DOUBLE,
    images INTEGER,
    only_a INTEGER,
    only_b INTEGER,
    images_std_error DOUBLE,
    p_images DOUBLE,
    metric VARCHAR NOT NULL,
    p_holm DOUBLE,
    p_images_holm DOUBLE,
    pairs INTEGER NOT NULL,
    bootstrap_low DOUBLE,
    bootstrap_high DOUBLE
);

-- Whether the ranks of methods over data sets differ by more than chance, by ground.
CREATE TABLE friedman_tests (
    protocol VARCHAR NOT NULL,
    source VARCHAR,
    backbone VARCHAR NOT NULL,
    shots INTEGER NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    test_rows_per_class INTEGER,
    methods INTEGER NOT NULL,
    datasets INTEGER NOT NULL,
    statistic DOUBLE,
    p DOUBLE,
    iman_davenport DOUBLE,
    iman_davenport_p DOUBLE
);

-- Every two methods over the data sets that both have, once.
CREATE TABLE dataset_comparisons (
    protocol VARCHAR NOT NULL,
    source VARCHAR,
    backbone VARCHAR NOT NULL,
    shots INTEGER NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    test_rows_per_class INTEGER,
    method_a VARCHAR NOT NULL,
    variant_a VARCHAR NOT NULL,
    method_b VARCHAR NOT NULL,
    variant_b VARCHAR NOT NULL,
    datasets INTEGER NOT NULL,
    mean_a DOUBLE NOT NULL,
    mean_b DOUBLE NOT NULL,
    difference DOUBLE NOT NULL,
    wins INTEGER NOT NULL,
    ties INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    effect_datasets DOUBLE,
    p DOUBLE,
    p_holm DOUBLE,
    n INTEGER NOT NULL,
    seeds_difference DOUBLE,
    std DOUBLE,
    p_seeds DOUBLE,
    p_seeds_holm DOUBLE,
    pairs INTEGER NOT NULL,
    covers VARCHAR NOT NULL,
    missing VARCHAR
);

-- Results that other stores have of trials that are here, by split and metric.
CREATE TABLE reproductions (
    trial_id VARCHAR NOT NULL,
    result VARCHAR NOT NULL,
    origin VARCHAR,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    ours DOUBLE,
    theirs DOUBLE,
    difference DOUBLE,
    n BIGINT NOT NULL,
    rows_differ BIGINT NOT NULL,
    largest DOUBLE NOT NULL,
    verdict VARCHAR NOT NULL,
    differs VARCHAR[] NOT NULL,
    file_stamp VARCHAR NOT NULL
);

CREATE TABLE reference_results (
    method VARCHAR,
    backbone VARCHAR,
    protocol VARCHAR,
    dataset VARCHAR,
    shots INTEGER,
    split VARCHAR,
    metric VARCHAR,
    value DOUBLE,
    source VARCHAR,
    derived DOUBLE,
    consistent BOOLEAN,
    note VARCHAR
);

CREATE TABLE reference_averages (average VARCHAR, dataset VARCHAR);

CREATE TABLE reference_datasets (dataset VARCHAR, split VARCHAR, test_rows BIGINT);

CREATE TABLE reference_templates (
    method VARCHAR,
    dataset VARCHAR,
    template VARCHAR,
    template_set VARCHAR
);

CREATE TABLE reference_names (kind VARCHAR, ours VARCHAR, published VARCHAR, note VARCHAR);

CREATE TABLE t_values (df INTEGER, t DOUBLE);

CREATE TABLE studentized_ranges (methods INTEGER, q DOUBLE);
