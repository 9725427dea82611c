package config

// Crops are the views of an image: their number, scale and size.
type Crops struct {
	GlobalCropsScale       Pair    `json:"global_crops_scale" above:"0" max:"1" doc:"area of a global crop over the image's"`
	LocalCropsScale        Pair    `json:"local_crops_scale" above:"0" max:"1" doc:"area of a local crop over the image's"`
	GlobalCropsNumber      int     `json:"global_crops_number" min:"2" max:"2" doc:"global crops; the losses are defined for 2"`
	LocalCropsNumber       int     `json:"local_crops_number" min:"0" max:"64" doc:"local crops L"`
	GlobalCropsSize        int     `json:"global_crops_size" min:"1" max:"4096" doc:"side of a global crop in pixels; a multiple of the patch"`
	LocalCropsSize         int     `json:"local_crops_size" min:"1" max:"4096" doc:"side of a local crop in pixels; a multiple of the patch"`
	GuidanceProbability    float64 `json:"guidance_probability" min:"0" max:"1" doc:"share of the local crops centred on a label, for data with masks" inert:"this version has no guided crops"`
	LocalCropsInsideGlobal bool    `json:"local_crops_inside_global" doc:"keep guided crops inside the first global crop" refused:"this version has no guided crops"`
	GammaProb              float64 `json:"gamma_prob" min:"0" max:"1" doc:"share of the views that get a random gamma"`
	GammaRange             Pair    `json:"gamma_range" above:"0" max:"10" doc:"range of that gamma"`
}

// Augment is the augmentation of a cropped view, in this order: flip, jitter, grey, blur, solarise.
type Augment struct {
	HorizontalFlip float64 `json:"horizontal_flip" min:"0" max:"1" doc:"probability of a left-right flip"`
	VerticalFlip   float64 `json:"vertical_flip" min:"0" max:"1" doc:"probability of a top-bottom flip"`
	JitterProb     float64 `json:"jitter_prob" min:"0" max:"1" doc:"probability of the colour jitter"`
	Brightness     float64 `json:"brightness" min:"0" max:"1" doc:"brightness factor is drawn from 1 ± this"`
	Contrast       float64 `json:"contrast" min:"0" max:"1" doc:"contrast factor is drawn from 1 ± this"`
	Saturation     float64 `json:"saturation" min:"0" max:"1" doc:"saturation factor is drawn from 1 ± this; 3-channel images only"`
	Hue            float64 `json:"hue" min:"0" max:"0.5" doc:"hue shift in turns is drawn from ± this; 3-channel images only"`
	GrayProb       float64 `json:"gray_prob" min:"0" max:"1" doc:"probability of turning a 3-channel view grey"`
	BlurMode       string  `json:"blur_mode" oneof:"intended|published|off" doc:"blur probability on global 1, global 2, local: intended 1, 0.1, 0.5 (DINO); published 0, 0.9, 0.5 (as the released DINOv2 and DINOv3 code runs); off"`
	BlurSigma      Pair    `json:"blur_sigma" above:"0" max:"20" doc:"standard deviation of the blur in pixels of the crop"`
	SolariseProb   float64 `json:"solarise_prob" min:"0" max:"1" doc:"probability of solarising global crop 2"`
	Interpolation  string  `json:"interpolation" oneof:"bicubic|bilinear" doc:"filter of the resized crop, antialiased"`
}
