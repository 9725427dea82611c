package config

// DinoHead is the projection head of the CLS token and its loss.
type DinoHead struct {
	OutDim        int     `json:"out_dim" min:"2" max:"1048576" doc:"prototypes K"`
	NormLastLayer bool    `json:"norm_last_layer" doc:"keep the weight-norm gain of the last layer at 1"`
	LossWeight    float64 `json:"loss_weight" min:"0" doc:"weight of the global and local DINO terms"`
	HiddenDim     int     `json:"hidden_dim" min:"1" max:"65536" doc:"width of the hidden layers"`
	BottleneckDim int     `json:"bottleneck_dim" min:"1" max:"65536" doc:"width of the L2-normalised bottleneck"`
	NLayers       int     `json:"nlayers" min:"1" max:"8" doc:"linear layers before the prototypes"`
	WeightNorm    bool    `json:"weight_norm" doc:"weight-normalise the last layer (DINO, DINOv2); false is DINOv3's plain linear layer"`
}

// IBOT is the masked-patch loss, its head and its masks.
type IBOT struct {
	LossWeight            float64 `json:"loss_weight" min:"0" doc:"weight of the patch loss; 0 leaves it and the masks out"`
	OutDim                int     `json:"out_dim" min:"2" max:"1048576" doc:"prototypes of the separate head; equals dino_head.out_dim when the head is shared"`
	NormLastLayer         bool    `json:"norm_last_layer" doc:"keep the weight-norm gain of the separate head's last layer at 1"`
	MaskSampleProbability float64 `json:"mask_sample_probability" min:"0" max:"1" doc:"share of the global crops that get a mask"`
	MaskRatioMinMax       Pair    `json:"mask_ratio_min_max" min:"0" max:"0.95" doc:"range of the masked share of a crop's patches"`
	HiddenDim             int     `json:"hidden_dim" min:"1" max:"65536" doc:"hidden width of the separate head"`
	BottleneckDim         int     `json:"bottleneck_dim" min:"1" max:"65536" doc:"bottleneck width of the separate head"`
	NLayers               int     `json:"nlayers" min:"1" max:"8" doc:"linear layers of the separate head before its prototypes"`
	MaskTarget            string  `json:"mask_target" oneof:"uniform|exact" doc:"uniform: a ratio drawn inside each crop's bin, blocks may under-fill (DINOv2); exact: the bin's upper bound, always filled (DINOv3)"`
}

// KoLeo is the Kozachenko-Leonenko regulariser.
type KoLeo struct {
	LossWeight float64 `json:"loss_weight" min:"0" doc:"weight of the regulariser; DINOv2 and DINOv3 use 0.1"`
}

// Gram anchors the similarities between patches to those of an earlier teacher (DINOv3).
type Gram struct {
	LossWeight      float64 `json:"loss_weight" min:"0" doc:"weight of the Gram loss; 0 leaves it out"`
	FirstUpdate     int     `json:"it_first_update" min:"0" doc:"step at which the anchor is copied from the teacher; the loss is 0 before"`
	UpdateFrequency int     `json:"update_frequency" min:"0" doc:"steps between later copies; 0 keeps the first"`
	MaxUpdates      int     `json:"max_updates" min:"0" doc:"later copies at most"`
	RemoveNeg       bool    `json:"remove_neg" doc:"set negative similarities of both sides to 0"`
}
