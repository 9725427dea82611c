package config

// Distribution says how ranks share the work and in which number format they compute.
type Distribution struct {
	Type           string `json:"type" oneof:"ddp|fsdp" doc:"how several ranks share the model" inert:"this version trains on one rank"`
	MixedPrecision string `json:"mixed_precision" oneof:"bf16|fp16|no" doc:"number format of the activations on a GPU: bf16; fp16, which is computed as bf16 and said so; no, which is 32-bit floats without tensor cores. Weights and moments are 32-bit floats always, and on a CPU everything is"`
	DowncastBF16   string `json:"downcast_bf16" oneof:"no|yes" doc:"variable of that name for Accelerate" inert:"it concerns TPUs alone"`
}

// Train is the model's name and kind, the length of the run, the schedules and the saving.
type Train struct {
	ModelName                   string  `json:"model_name" doc:"name of the run folder below output_folders.main_output"`
	ModelType                   string  `json:"model_type" doc:"hub id of a known model, or a family whose shape the model section gives: vit, dinov2, dinov2_with_registers, dinov3_vit"`
	GlobalBatchSize             int     `json:"global_batch_size" min:"1" doc:"images per step over all ranks"`
	BatchSizePerGPU             int     `json:"batch_size_per_gpu" min:"0" doc:"images per step and rank; wins over global_batch_size when above 0"`
	MaxIterations               int     `json:"max_iterations" min:"1" max:"1000000000" doc:"steps of the run and length of every schedule"`
	DoDistillation              bool    `json:"do_distillation" doc:"learn from the frozen teacher of the distillation section" refused:"this version has no distillation"`
	MixedPrecision              bool    `json:"mixed_precision" doc:"whether to use a 16-bit number format" inert:"distribution.mixed_precision decides"`
	UseLora                     bool    `json:"use_lora" doc:"train low-rank adapters instead of the backbone" refused:"this version does not train adapters"`
	GradientCheckpointing       bool    `json:"gradient_checkpointing_enable" doc:"recompute the student's blocks in the backward pass to save memory"`
	ClipGrad                    float64 `json:"clip_grad" min:"0" doc:"largest gradient norm, see optim.clip_scope; 0 is off"`
	FreezeLastLayer             int     `json:"freeze_last_layer" min:"0" doc:"steps during which the heads' last layer stands still"`
	WarmupIterations            int     `json:"warmup_iterations" min:"0" doc:"steps of the linear learning-rate warm-up from 0"`
	WarmupTeacherTemp           float64 `json:"warmup_teacher_temp" above:"0" max:"1" doc:"teacher temperature at the first step"`
	TeacherTemp                 float64 `json:"teacher_temp" above:"0" max:"1" doc:"teacher temperature after its warm-up"`
	WarmupTeacherTempIterations int     `json:"warmup_teacher_temp_iterations" min:"0" doc:"steps of the linear teacher-temperature warm-up"`
	StudentTemp                 float64 `json:"student_temp" above:"0" max:"10" doc:"student temperature"`
	CenterMomentum              float64 `json:"center_momentum" min:"0" max:"1" doc:"momentum of the centres"`
	Centering                   string  `json:"centering" oneof:"centering|sinkhorn_knopp" doc:"how teacher outputs become targets"`
	MomentumTeacher             float64 `json:"momentum_teacher" min:"0" max:"1" doc:"teacher momentum at the first step"`
	FinalMomentumTeacher        float64 `json:"final_momentum_teacher" min:"0" max:"1" doc:"teacher momentum that the cosine schedule ends at"`
	IBOTSeparateHead            bool    `json:"ibot_separate_head" doc:"own head for the patch loss instead of sharing the DINO head"`
	FreezeBackboneLayers        int     `json:"freeze_backbone_layers" min:"0" doc:"first blocks of the student, and the embeddings below them, that are not trained"`
	LR                          float64 `json:"lr" above:"0" max:"100" doc:"peak learning rate, before optim.lr_scaling"`
	MinLR                       float64 `json:"min_lr" min:"0" max:"100" doc:"learning rate that the cosine schedule ends at"`
	WeightDecay                 float64 `json:"weight_decay" min:"0" max:"10" doc:"weight decay at the first step"`
	WeightDecayEnd              float64 `json:"weight_decay_end" min:"0" max:"10" doc:"weight decay that the cosine schedule ends at"`
	UsePretrained               bool    `json:"use_pretrained" doc:"start from the weights of train.model_type"`
	CheckpointPath              string  `json:"checkpoint_path" doc:"folder with weights to start from; only when use_pretrained is false"`
	CheckpointBranch            string  `json:"checkpoint_branch" doc:"which trunk of a checkpoint with several: a part of the prefix of its names, such as teacher; empty takes the only one, or the only teacher"`
	CheckpointHeads             int     `json:"checkpoint_heads" min:"0" doc:"attention heads of a weight file without a config.json; 0 takes one for 64 channels"`
	CheckpointInterpolation     string  `json:"checkpoint_interpolation" oneof:"default|size|offset|antialias" doc:"resampling of the checkpoint's positions: size (transformers), offset (Meta's DINO and DINOv2 code), antialias (timm); default is that of its naming"`
	CheckpointAllowMissing      bool    `json:"checkpoint_allow_missing" doc:"accept a checkpoint that lacks tensors of the model; those start at their initial values"`
	CheckpointAllowUnexpected   bool    `json:"checkpoint_allow_unexpected" doc:"accept a checkpoint with tensors that are not the model's; those are ignored"`
	NumWorkers                  int     `json:"num_workers" min:"0" max:"1024" doc:"goroutines that decode and augment; 0 uses the number of CPUs"`
	SaveckpFreq                 int     `json:"saveckp_freq" doc:"steps between checkpoints; 0 or less saves only at the end"`
	GenerateSamples             bool    `json:"generate_samples" doc:"draw attention pictures at each save"`
	PCAComponent                int     `json:"PCA_component" min:"1" max:"16" doc:"principal components in the attention pictures" inert:"this version draws no pictures"`
	LevelAwareness              any     `json:"level_awareness" doc:"a key that DINO-MX left unfinished" refused:"it is unfinished in DINO-MX"`
	Seed                        Seed    `json:"seed" doc:"seed of weights, data order, augmentation, masks and drop path; a number or the word random"`
	DropPathRate                float64 `json:"drop_path_rate" min:"0" below:"1" doc:"stochastic depth of the student"`
	DropPathMode                string  `json:"drop_path_mode" oneof:"linear|uniform|subset" doc:"linear: the rate grows with depth (DINO); uniform: the same everywhere; subset: uniform, and a dropped branch is not computed (DINOv2, DINOv3)"`
	LogEvery                    int     `json:"log_every" min:"1" doc:"steps between lines of the log; on a GPU also between records of metrics.jsonl, since reading results makes it wait"`
}
