package config

// Config is every setting of a run. The json tags are the YAML keys; doc, min, max, above, below and oneof
// document a key and bound its value (see Validate). A key that nothing reads carries one of two more tags, whose
// text is the reason: refused makes every value but the default an error, inert accepts the key, and Ineffective
// and the printed documentation say that it changes nothing.
type Config struct {
	DinoHead     DinoHead     `json:"dino_head" doc:"projection head and loss on the CLS token"`
	IBOT         IBOT         `json:"ibot" doc:"loss on masked patches; a weight above 0 makes the recipe DINOv2-like, 0 makes it DINO v1"`
	KoLeo        KoLeo        `json:"koleo" doc:"entropy estimator that spreads the CLS features of a batch"`
	Gram         Gram         `json:"gram" doc:"anchor for patch similarities, a late stage of DINOv3"`
	Distribution Distribution `json:"distribution" doc:"ranks and number formats"`
	Train        Train        `json:"train" doc:"model, length, schedules, saving"`
	Optim        Optim        `json:"optim" doc:"AdamW beyond the learning rate"`
	Model        Model        `json:"model" doc:"shape of the backbone; keys not given come from train.model_type"`
	Lora         Lora         `json:"lora_config" doc:"low-rank adapters, with train.use_lora"`
	Distillation Distillation `json:"distillation" doc:"frozen external teacher, with train.do_distillation"`
	Crops        Crops        `json:"crops" doc:"views of an image"`
	Augment      Augment      `json:"augment" doc:"random changes of a view's colours and orientation"`
	Dataset      Dataset      `json:"dataset" doc:"images"`
	Evaluation   Evaluation   `json:"evaluation" doc:"nearest-neighbour classification of the features"`
	Watch        Watch        `json:"watch" doc:"guards against collapse and non-finite losses"`
	Output       Output       `json:"output_folders" doc:"where a run is written"`
}

// Default returns the configuration of an empty file: the released DINO-MX values, and for our own keys the value
// that leaves its behaviour unchanged.
func Default() *Config {
	return &Config{
		DinoHead: DinoHead{OutDim: 65536, LossWeight: 1, HiddenDim: 2048, BottleneckDim: 256, NLayers: 3, WeightNorm: true},
		IBOT: IBOT{
			OutDim: 65536, MaskSampleProbability: .5, MaskRatioMinMax: Pair{.1, .5},
			HiddenDim: 2048, BottleneckDim: 256, NLayers: 3, MaskTarget: "uniform",
		},
		Gram:         Gram{UpdateFrequency: 50000},
		Distribution: Distribution{Type: "ddp", MixedPrecision: "bf16", DowncastBF16: "no"},
		Train: Train{
			ModelName: "test_dinov2", ModelType: "facebook/dinov2-with-registers-base",
			GlobalBatchSize: 64, MaxIterations: 60000, ClipGrad: 3, FreezeLastLayer: 100, WarmupIterations: 10000,
			WarmupTeacherTemp: .04, TeacherTemp: .04, WarmupTeacherTempIterations: 500, StudentTemp: .1,
			CenterMomentum: .9, Centering: "centering", MomentumTeacher: .9992, FinalMomentumTeacher: 1,
			LR: 1e-4, MinLR: 1e-5, WeightDecay: .04, WeightDecayEnd: .4, UsePretrained: true, NumWorkers: 8,
			SaveckpFreq: 10, GenerateSamples: true, PCAComponent: 3, Seed: 42, DropPathMode: "uniform", LogEvery: 1, CheckpointInterpolation: "default",
		},
		Optim: Optim{
			Beta1: .9, Beta2: .999, Eps: 1e-8, LayerwiseDecay: 1, PatchEmbedLRMult: 1, ClipScope: "tensor",
			LRScaling: "none", LastLayerFreeze: "drop_gradient",
		},
		Lora: Lora{R: 8, Alpha: 16, Dropout: .1, Targets: []string{"query", "value"}},
		Crops: Crops{
			GlobalCropsScale: Pair{.4, 1}, LocalCropsScale: Pair{.05, .4}, GlobalCropsNumber: 2, LocalCropsNumber: 6,
			GlobalCropsSize: 224, LocalCropsSize: 98, GuidanceProbability: .5,
			GammaProb: 0, GammaRange: Pair{.7, 1.5},
		},
		Augment: Augment{
			HorizontalFlip: .5, Brightness: .4, Contrast: .4, Saturation: .2, Hue: .1, JitterProb: .8, GrayProb: .2,
			BlurMode: "intended", BlurSigma: Pair{.1, 2}, SolariseProb: .2, Interpolation: "bicubic",
		},
		Dataset: Dataset{
			Path: "dataset/dermamnist", Layout: "auto", Shuffle: true, Size: [2]int{224, 224},
			Mean: []float64{.7405159, .5329508, .70579445}, Std: []float64{.1651425, .21736613, .15739934},
			TrainSplit: "train", EvalSplit: "auto", MaxUnreadableShare: .01,
		},
		Evaluation: Evaluation{KNN: true, KNNK: 20, KNNTemperature: .07, BatchSize: 256},
		Watch:      Watch{FeatureStdMin: .05, PrototypeEntropyMin: .25, MaxNonFinite: 3, Every: 1},
		Output: Output{
			TrainCheckpointDir: "train_checkpoints", TeacherCheckpointDir: "teacher_checkpoints",
			TrainingSamplesDir: "training_samples", TrainingResultsDir: "training_results",
			LogDir: "log_files", MainOutput: "outputs", MaxToKeep: 3,
		},
	}
}

// Pair is a range [low, high].
type Pair [2]float64

// Seed is a random seed. In a file it may also be the word random, which draws one when the file is read; the
// resolved configuration holds the number.
type Seed uint64
