package config

// Model is the shape of the backbone, under the key names of Hugging Face configurations. Keys that a file
// does not give are filled from the known model that train.model_type names.
type Model struct {
	HiddenSize        int     `json:"hidden_size" min:"1" max:"16384" doc:"width d of the tokens"`
	NumHiddenLayers   int     `json:"num_hidden_layers" min:"1" max:"256" doc:"transformer blocks"`
	NumAttentionHeads int     `json:"num_attention_heads" min:"1" max:"256" doc:"attention heads; must divide hidden_size"`
	MLPRatio          float64 `json:"mlp_ratio" above:"0" max:"16" doc:"hidden width of a block's MLP over hidden_size"`
	PatchSize         int     `json:"patch_size" min:"1" max:"128" doc:"side of a patch in pixels"`
	ImageSize         int     `json:"image_size" min:"1" max:"8192" doc:"side of the images that the position table is made for"`
	NumChannels       int     `json:"num_channels" min:"0" max:"256" doc:"image channels; 0 takes what the data has"`
	NumRegisterTokens int     `json:"num_register_tokens" min:"0" max:"64" doc:"register tokens between CLS and patches"`
	LayerScaleValue   float64 `json:"layerscale_value" min:"0" max:"1" doc:"initial LayerScale; 0 leaves LayerScale out"`
	LayerNormEps      float64 `json:"layer_norm_eps" above:"0" max:"0.01" doc:"epsilon of every LayerNorm"`
	QKVBias           bool    `json:"qkv_bias" doc:"biases on query and value"`
	KeyBias           bool    `json:"key_bias" doc:"bias on key too"`
	UseSwiGLUFFN      bool    `json:"use_swiglu_ffn" doc:"SwiGLU instead of the GELU MLP"`
	RopeTheta         float64 `json:"rope_theta" min:"0" doc:"base of rotary positions; 0 uses a learned position table"`
	PosEmbedShift     float64 `json:"pos_embed_shift" min:"0" max:"10" doc:"random shift of rotary coordinates in training; 0 is off"`
	PosEmbedJitter    float64 `json:"pos_embed_jitter" min:"0" max:"10" doc:"largest random stretch of each rotary axis in training; 0 is off, else above 1"`
	PosEmbedRescale   float64 `json:"pos_embed_rescale" min:"0" max:"10" doc:"largest random stretch of both rotary axes in training; 0 is off, else above 1"`
}

// Lora is the low-rank adaptation of the backbone.
type Lora struct {
	R       int      `json:"lora_r" min:"1" max:"1024" doc:"rank of the adapters" inert:"this version refuses train.use_lora"`
	Alpha   float64  `json:"lora_alpha" above:"0" doc:"adapters are scaled by lora_alpha / lora_r" inert:"this version refuses train.use_lora"`
	Dropout float64  `json:"lora_dropout" min:"0" below:"1" doc:"dropout before the adapters" inert:"this version refuses train.use_lora"`
	Targets []string `json:"target_modules" doc:"linear layers to adapt" inert:"this version refuses train.use_lora"`
}

// Distillation names the frozen external teacher.
type Distillation struct {
	ModelType    string `json:"distilled_model_type" doc:"hub id of the teacher" inert:"this version refuses train.do_distillation"`
	ModelWeights string `json:"distilled_model_weights" doc:"folder or file with the teacher's weights" inert:"this version refuses train.do_distillation"`
	LoadFromDisk bool   `json:"load_from_disk" doc:"read the teacher from distilled_model_weights only" inert:"this version refuses train.do_distillation"`
}
