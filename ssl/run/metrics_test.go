package run

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// Losses stand under their own keys in a record and under their names in the log line; one that this package has never
// heard of as well.
func TestLossesOfARecord(t *testing.T) {
	s := Step{Loss: 6, LR: 1, Losses: []Part{{"dino_global", 1}, {"dino_local", 2}, {"koleo", 0.5}, {"pull", number(math.NaN())}}}
	text, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"loss":6,"dino_local":2,"dino_global":1,"ibot":0,"koleo":0.5,"pull":null,"lr":1,`; !strings.Contains(string(text), want) {
		t.Errorf("record %s\nwant %s", text, want)
	}
	if want := "Total Loss: 6.0000 Local DINO: 2.0000 Global DINO: 1.0000 iBOT: 0.0000 KoLeo: 0.5000 pull: NaN LR: "; !strings.HasPrefix(s.Line(), want) {
		t.Errorf("line %s", s.Line())
	}
}
