package data

import "errors"

// Open finds the samples of a split in a path. The path is
//
//   - a folder of images (PNG, JPEG, GIF, BMP, TIFF, WebP), flat or with one sub-folder per class;
//   - the same below sub-folders train, val (valid, validation) and test;
//   - a folder with the four IDX files of MNIST and its relatives (train-images-idx3-ubyte and so on, .gz or not);
//   - an .npz file in MedMNIST's layout (train_images, train_labels, val_images, …);
//   - a tar file (.tar, .tar.gz, .tgz), or a folder of such shards;
//   - builtin:fashion-mnist, or embedded:fashion-mnist: the embedded subset, 5,000 training and 1,000 test images.
//
// The split is train, val, test, auto (test if there is one, else val) or empty for everything below the path. A path
// without splits has only its training split.
func Open(path, split string) (Source, error) { return nil, errors.New("data: not built") }
