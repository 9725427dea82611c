package config

// Dataset are the images of a run and how they are read.
type Dataset struct {
	Path               string    `json:"dataset_path" doc:"folder of images, folder of IDX files, .npz or .tar file, or embedded:fashion-mnist"`
	Shuffle            bool      `json:"shuffle" doc:"draw a new order of the images every epoch"`
	Resize             bool      `json:"resize" doc:"evaluate whole pictures resized to size; otherwise the shorter side is resized to it and the centre cut out at crops.global_crops_size"`
	Size               [2]int    `json:"size" min:"1" max:"8192" doc:"height and width for evaluation, see resize"`
	Mean               []float64 `json:"mean" min:"-100000" max:"100000" doc:"per-channel mean of the pixels scaled to 0…1; one value serves every channel; empty measures the data"`
	Std                []float64 `json:"std" above:"0" max:"100000" doc:"per-channel standard deviation; one value serves every channel; empty measures the data"`
	Layout             string    `json:"layout" oneof:"auto|classes|splits|flat|archives" doc:"what the folders stand for: classes, splits, nothing (flat); archives reads the tar or IDX files beside pictures; auto finds out, and asks where two readings make sense"`
	TrainSplit         string    `json:"train_split" doc:"split that is trained on: train, val, test, or a sub-folder of that name"`
	EvalSplit          string    `json:"eval_split" doc:"split that is evaluated on: test, val, or another name; auto takes test, else val"`
	MaxUnreadableShare float64   `json:"max_unreadable_share" min:"0" max:"1" doc:"share of unreadable images that is skipped and reported before the run stops"`
}
