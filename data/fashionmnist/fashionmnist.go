// Package fashionmnist is the embedded sample set: the first 5,000 training and the first 1,000 test images of
// Fashion-MNIST, 28 x 28 grey, 10 classes, as gzip-compressed IDX files. Fashion-MNIST is by Zalando SE (Han Xiao,
// Kashif Rasul, Roland Vollgraf, 2017) under the MIT licence, which stands beside this file.
package fashionmnist

import _ "embed"

//go:generate go run ./subset -from /usr/share/datasets/fashion-mnist

// The four files, in the format of the full set.
var (
	//go:embed train-images-idx3-ubyte.gz
	TrainImages []byte
	//go:embed train-labels-idx1-ubyte.gz
	TrainLabels []byte
	//go:embed t10k-images-idx3-ubyte.gz
	TestImages []byte
	//go:embed t10k-labels-idx1-ubyte.gz
	TestLabels []byte
)

// Classes is the names of the labels 0 to 9.
var Classes = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}
