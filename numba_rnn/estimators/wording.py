"""Parts that the docstrings of the estimators share."""

PARAMETERS = """Parameters
    ----------
    hidden_size : int, default 64
        Units of every layer and direction, H.
    num_layers : int, default 1
    nonlinearity : {{"tanh", "relu"}}, default "tanh"
    bidirectional : bool or "auto", default "auto"
        Whether a second direction (D = 2) reads each series from its end; "auto" for yes, but where
        every step has a target, which then would depend on later steps, or with truncation.
    dropout : float, default 0.0
        Probability with which an output between layers is dropped in training.
    pooling : {{"last", "mean", "max"}}, default "max"
        What of a series the readout sees: the last state of the last layer, of both directions, or
        the mean or maximum of the outputs over its steps. Targets of steps need none.
    solver : {{"adam", "sgd", "rmsprop", "lbfgs"}}, default "adam"
        "sgd" has Nesterov's momentum 0.9. "lbfgs" is SciPy's L-BFGS-B on all weights and all
        series at once; it computes in float64 whatever dtype says, an iteration counts as an
        epoch, and batch_size, learning_rate_init, shuffle and clip_norm don't matter to it.
    alpha : float, default 0.0
        L2 penalty: alpha / (2 · series of the batch) · the sum of squares of all weights but
        biases is added to the loss.
    batch_size : int or "auto", default "auto"
        Series a batch; "auto" is a sixteenth of them, but at least 16 and at most 200, so that an
        epoch of few series has several steps. Where lengths differ, series of similar length come
        together.
    learning_rate_init : float, default 3e-3
    max_iter : int, default 200
        Epochs at most.
    shuffle : bool, default True
        Whether batches are drawn anew in every epoch.
    clip_norm : float or None, default 1.0
        Largest norm of the gradient of a batch, to which longer ones are scaled.
    truncation : int or None, default None
        Steps of truncated backpropagation through time: each series is cut, from its end, into
        chunks of so many steps; states are carried on from one to the next and gradients are not.
        With targets of steps the weights change after every chunk. Not with two directions. Where
        there are patches, they are the steps.
    early_stopping : bool, default False
        Whether to hold back a part of the training data, to stop when the score on it stalls, and
        to keep the weights of the best score. Where that tells nothing, as R² of targets that are
        all equal, the validation loss takes its place. partial_fit can't.
    validation_fraction : float or None, default 0.1
        Share of the series held back, where `fit` is given no validation_data; None where it always
        is.
    n_iter_no_change : int or np.inf, default 10
        Epochs in a row without a gain of tol, in the loss or the validation score, after which
        training stops; np.inf where max_iter epochs are meant as they stand, so that no warning
        comes after them. Epochs at the loss of a constant prediction don't count: recurrent
        networks may stay there long before they learn. With "lbfgs" it acts with early stopping
        only.
    tol : float, default 1e-4
        What counts as a gain. With "lbfgs" the largest element of the gradient at which it stops.
    standardize : bool, default True
        Whether each feature is scaled to mean 0 and standard deviation 1 over all steps of the
        training data{also}.
    warm_start : bool, default False
        Whether `fit` goes on from the weights, and the scaling, of the last one. When to stop and
        which weights are best is found anew.
    random_state : int, RandomState instance or None, default None
        Source of initial weights, order of series, dropout and what is held back. The same number
        gives the same model to the last bit.
    verbose : int, default 0
        1 for a progress bar, which needs tqdm. Whatever it is, the logger "numba_rnn.estimators" of
        Python's logging has a record of level INFO for each epoch, with attributes `epoch`, `loss`
        and `validation_score`; nobody sees it where logging isn't set up.
    dtype : {{"float32", "float64"}}, default "float32"
        What is computed in.
    checkpoint : path or None, default None
        File in which `fit` keeps the training after every epoch. Where it exists `fit` goes on
        from it, and ends in the same bits as if it had never stopped; a finished one gives the
        finished model. partial_fit keeps none. Its folder must be there and writable. What changes
        no epoch that is done may change: max_iter, n_iter_no_change and tol, where the training
        would still have come as far, and verbose. A file belongs to one training: where one path
        serves several, as in GridSearchCV or cross_val_score, the second is refused for other
        parameters or "other X or y", and while the first goes on, for that (by a lock beside the
        file; where a network's file system has no locks, one of the two ends when it next saves).
    patch : int, "auto" or None, default "auto"
        Consecutive steps that the network reads at once, as features of one step: hundreds of
        steps are too long for it. Of an int, patches begin at every third of one; "auto" makes
        about 24 of the longest series, in which each step is part of three, but of 4 steps at
        least; None is for steps as they are. Where the last patch reaches beyond the end of a
        series, the last step is repeated. Targets of steps have none.
    n_members : int, default 1
        Networks that are trained, one after the other, from other initial weights on other
        batches. Predictions are the mean of theirs (of probabilities, for labels). Five are often
        better than one, and take five times as long.
    learning_rate : {{"constant", "cosine", "plateau"}}, default "constant"
        "cosine" goes from learning_rate_init to almost 0 over max_iter epochs, half a wave of a
        cosine; "plateau" halves it after every 5 epochs in a row without a gain of tol. Not with
        "lbfgs".
    missing : {{"error", "forward"}}, default "error"
        What NaN, None, pandas' NA and masked entries are: an error, or values that are missing.
        With "forward" the last value of the feature is carried forward, before any its mean in
        `fit` stands, and each feature that had gaps in `fit` has an indicator beside it, which
        tells the network where they are. {missing}
"""

ATTRIBUTES = """n_features_in_ : int
        Columns of a table, else features.
    feature_names_in_ : ndarray of str
        Where X was a frame with names, or a list of frames.
    loss_curve_ : list of float
        Mean loss of each epoch, {loss}; a warm start goes on with it. This, what follows, and the
        network are those of the first member where there are several.
    validation_scores_, validation_losses_ : list of float or None
        {score} and loss of what is held back, or of validation_data, after each epoch; None
        without early stopping and validation_data.
    best_loss_ : float
        Smallest loss of the last `fit`, and of calls of `partial_fit` after it.
    n_iter_ : int
        Epochs of the last `fit`, and of calls of `partial_fit` after it.
    rnn_ : RNN
    head_ : Linear
        The network, which takes patches of x = (X - x_mean_) / x_scale_.
    members_ : list of tuple (RNN, Linear)
        All networks.
    patch_size_, patch_stride_ : int
        Steps of a patch, and from the beginning of one to that of the next; 1 without patches.
    filling_ : Filling or None
        With missing="forward": `start` (F,), the means that stand before the first value, and
        `marked`, the places of the features with an indicator, which come after the features.
    x_mean_, x_scale_ : ndarray of float64, shape (F,)"""

FORMS = """X is an array (n_samples, n_timesteps, n_features), a table (n_samples, n_timesteps)
    of one feature, in which a column is a time step, or a list of arrays (T_i, n_features) or
    (T_i,) where lengths differ. A list of lists is an array. Frames and series of pandas and polars
    will do for tables and in lists. An array or a table may be Dask's, in `fit` too, and so may y;
    predictions of it are Dask arrays."""

NOTES = """A series' prediction has the same bits whatever else is predicted with it.

    **Dask arrays** are fitted to where they are: series are read in 16 blocks, or a multiple of 16
    where they have more than 64 MB, and fewer of fewer series; a batch takes the same share of 16
    blocks, whose gradients the workers sum in one order. So the model depends on the series and the
    parameters alone, not on chunks, workers or whether one of these is lost, but it is not that of
    the same array in memory, whose batches are others. Targets and sample_weight are brought to the
    caller, where weights and optimiser are. A step of the solver takes a turn through all workers,
    so that batch_size should be as large as the task allows. Targets of steps take no truncation
    then.

    The defaults were chosen with `RNNClassifier`, on halves of the training parts of GunPoint,
    ItalyPowerDemand and JapaneseVowels, and on BasicMotions, ArrowHead, OSULeaf and
    PickupGestureWiimoteZ, of the UCR and UEA archives. Series that are short, or of which only the
    end matters, may want ``patch=None``, ``pooling="last"`` and ``bidirectional=False``."""

MISSING = """Z. Che, S. Purushotham, K. Cho, D. Sontag and Y. Liu, "Recurrent neural networks for
    multivariate time series with missing values", Scientific Reports 8, 6085, 2018: GRU-D, of which
    missing="forward" is what is left without decays."""

PATCHES = """S. Lin et al., "SegRNN: segment recurrent neural network for long-term time series
    forecasting", arXiv 2308.11200, 2023: steps read in patches."""
