package config

// Optim is AdamW and the learning-rate rules around it.
type Optim struct {
	Beta1            float64 `json:"beta1" min:"0" below:"1" doc:"decay of the first moment"`
	Beta2            float64 `json:"beta2" min:"0" below:"1" doc:"decay of the second moment"`
	Eps              float64 `json:"eps" above:"0" max:"0.01" doc:"epsilon in the denominator"`
	LayerwiseDecay   float64 `json:"layerwise_decay" above:"0" max:"1" doc:"learning-rate factor from one block to the one below; 1 is off"`
	PatchEmbedLRMult float64 `json:"patch_embed_lr_mult" min:"0" max:"10" doc:"learning-rate factor of the patch embedding"`
	ClipScope        string  `json:"clip_scope" oneof:"tensor|module|global" doc:"what train.clip_grad bounds the norm of: each tensor (DINO), backbone and each head (DINOv2, DINOv3), or everything"`
	LRScaling        string  `json:"lr_scaling" oneof:"none|linear_wrt_256|sqrt_wrt_1024|4sqrt_wrt_1024" doc:"how train.lr and train.min_lr are multiplied for the batch size"`
	LastLayerFreeze  string  `json:"last_layer_freeze" oneof:"drop_gradient|zero_lr" doc:"drop_gradient leaves the moments alone too (DINO); zero_lr keeps them moving (DINOv2, DINOv3)"`
}
