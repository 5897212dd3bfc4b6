"""What the steps share; nothing in here is an entry point.

command_line    flags and errors as a person meets them
sources         reads and downloads raw tweets
dataset         raw tweets -> the prepared dataset, and back from its folder
profile         reference statistics of texts and scores, for drift
report          the readable page of a prepared dataset
folders         folders that appear whole or not at all
derived         files made once from a dataset and reused
vocabulary      words as numbers
embeddings      vectors of the words
encoder         the files of pretrained encoders, packaged, local or of the hub
schedule        order and speed of a network's training
epochs          what chooses among epochs, ends and tells them
checkpoint      a training's state on disk
networks        networks in Keras
network_training    inputs and outputs of a network's run
transformer     encoders in torch, and how they read
fine_tuning     their training
quantization    from their ONNX to eight bits
bag_of_ngrams   TF-IDF and a linear model
trained         what a family hands over to be logged
bundled         the model that comes with the project
model           the one file that ships inside every registered model
behaviour       what a model must do whatever its accuracy
perturbation    small changes that leave a text's feeling as it was
metrics         labels and scores -> numbers and intervals
paired          two models on the same rows -> a test
slices          which kinds of text a model must also be good at
rows            the rows of a test, and what each model answers to them
judgement       what models reach on them, and against each other
label_noise     which of their labels are probably wrong, and what models reach without these
error_analysis  the worst errors, for the people who own the tweets
comparison_page    all that a comparison found, as one page
masks           texts as people may be shown them
costs           what a model costs to run
plots           labels and scores -> figures
served          what a logged model answers in a fresh process
keys            what equal work is found again by
tracking        the only writer of MLflow runs
abandoned       runs of processes that are gone
runs            the read side of MLflow runs
registry        the read side of the model registry
comparison      who takes part in a comparison, and a finished one
evidence        results as files in the repository
evidence_tables    those of its tables that only newer evidence has
findings        what they say, as numbers
slides          and as slides
article         how answers are watched, told in two languages
notebooks       notebooks run anew and what they are stored without
model_folder    a model's files and who it is
deployed        the model that an endpoint answers with
exchange        one HTTP request and its answer
bodies          what the body of a request asks for
predictions     signed ids of answers
batching        the texts of concurrent requests, scored together
counters        what an endpoint counts, for Prometheus
telemetry       what an endpoint tells of its answers, in a thread of its own
insights        the line to Azure Application Insights
envelopes       what was told, as rows of Application Insights' tables
alert           three mispredicted tweets within any five minutes
incidents       such cases drawn at random, and which rule sees them
reference       a model's profile as bins that events are counted into
events          what was told, gathered: from captured files
log_analytics   and from Azure
told            from which of them, as flags say
review_queue    wrong answers whose text may be looked at
drift           whether it still is as the model knew it
drift_page      and the page of that
openapi         the endpoint's description of itself
endpoint        the app: MLflow's protocol, feedback, health, metrics
listening       where a server waits for connections
connections     HTTP connections with bounds
worker          one process of an endpoint
workers         its processes, watched
page            the web page for people, a package of its own
"""
