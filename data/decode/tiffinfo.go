package decode

// The photometric interpretations of TIFF.
const (
	tiffWhiteIsZero = 0
	tiffBlackIsZero = 1
	tiffRGB         = 2
	tiffPalette     = 3
	tiffCMYK        = 5
	tiffYCbCr       = 6
)

// tiffAlpha is what the first extra sample of a pixel is.
type tiffAlpha int

const (
	tiffNoAlpha       tiffAlpha = iota // none, or one that says nothing about the colours
	tiffPremultiplied                  // the colours were multiplied by it
)

// tiffInfo is the layout of the first page of a TIFF file.
type tiffInfo struct {
	file          tiffFile
	width, height int // as stored, before the orientation
	orientation   int
	photometric   int
	bits          int // of a sample
	samples       int // of a pixel
	colours       int // samples of a pixel that are not extra
	alpha         tiffAlpha
	separate      bool // a plane for each sample
	compression   int
	predictor     bool
	reversed      bool // the first pixel is in the low bits of a byte
	palette       *colours
	tables        []byte // of JPEG streams

	// Chunks are strips or tiles: wide x tall pixels each, across of them in a row of chunks.
	wide, tall, across int
	offsets, counts    []uint64
}

// Tags, by their names in the TIFF 6 specification.
const (
	tagImageWidth          = 256
	tagImageLength         = 257
	tagBitsPerSample       = 258
	tagCompression         = 259
	tagPhotometric         = 262
	tagFillOrder           = 266
	tagStripOffsets        = 273
	tagOrientation         = 274
	tagSamplesPerPixel     = 277
	tagRowsPerStrip        = 278
	tagStripByteCounts     = 279
	tagPlanarConfig        = 284
	tagT4Options           = 292
	tagPredictor           = 317
	tagColorMap            = 320
	tagTileWidth           = 322
	tagTileLength          = 323
	tagTileOffsets         = 324
	tagTileByteCounts      = 325
	tagExtraSamples        = 338
	tagSampleFormat        = 339
	tagJPEGTables          = 347
	tagYCbCrSubsampling    = 530
	tagReferenceBlackWhite = 532
)

// chunkSamples is the number of samples a pixel has in one chunk.
func (t *tiffInfo) chunkSamples() int {
	if t.separate {
		return 1
	}
	return t.samples
}

// rowBytes is the bytes of a row of a chunk.
func (t *tiffInfo) rowBytes() int { return (t.wide*t.chunkSamples()*t.bits + 7) / 8 }
