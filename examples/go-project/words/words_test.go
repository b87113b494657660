package words

import "testing"

func TestCount(t *testing.T) {
	for text, want := range map[string]int{"": 0, "one": 1, " one\ttwo\n": 2} {
		if got := Count(text); got != want {
			t.Errorf("Count(%q) = %d, want %d", text, got, want)
		}
	}
}
