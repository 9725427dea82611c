package config

// Evaluation is the weighted nearest-neighbour classification that a run ends with, and may repeat.
type Evaluation struct {
	KNN            bool    `json:"knn" doc:"measure kNN accuracy of raw pixels, untrained backbone and trained teacher, when the data has labels"`
	KNNK           int     `json:"knn_k" min:"1" max:"10000" doc:"neighbours"`
	KNNTemperature float64 `json:"knn_temperature" above:"0" max:"100" doc:"neighbours vote with exp(cosine / this)"`
	BatchSize      int     `json:"batch_size" min:"1" max:"65536" doc:"images per forward pass"`
	Every          int     `json:"every" min:"0" doc:"steps between evaluations of the teacher; 0 only at the end"`
}

// Watch bounds what counts as healthy training.
type Watch struct {
	Every               int     `json:"every" min:"1" doc:"steps between collapse checks"`
	FeatureStdMin       float64 `json:"feature_std_min" min:"0" max:"1" doc:"warn when the mean standard deviation of L2-normalised teacher features, times the square root of their width, falls below this"`
	PrototypeEntropyMin float64 `json:"prototype_entropy_min" min:"0" max:"1" doc:"warn when the entropy of prototype use, over ln K, falls below this"`
	MaxNonFinite        int     `json:"max_nonfinite" min:"0" doc:"consecutive non-finite losses that are skipped before the run stops"`
}

// Output names the folders of a run, below main_output/model_name.
type Output struct {
	TrainCheckpointDir   string `json:"train_checkpoint_dir" doc:"training state, one iter_N folder per save"`
	TeacherCheckpointDir string `json:"teacher_checkpoint_dir" doc:"teacher backbone in Hugging Face form, one iter_N folder per save"`
	TrainingSamplesDir   string `json:"training_samples_dir" doc:"folder of the attention pictures" inert:"this version draws no pictures"`
	TrainingResultsDir   string `json:"training_results_dir" doc:"a folder that DINO-MX makes and leaves empty" inert:"summary.json and metrics.jsonl hold the results"`
	LogDir               string `json:"log_dir" doc:"log files"`
	MainOutput           string `json:"main_output" doc:"root of all runs"`
	MaxToKeep            int    `json:"max_to_keep" min:"1" doc:"newest checkpoints kept"`
	KeepEvery            int    `json:"keep_every" min:"0" doc:"checkpoints whose step is a multiple of this are kept for good; 0 is off"`
}
