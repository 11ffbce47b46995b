package cli_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheManualIsWhole compares docs/cli.md with what the program says of itself: commands and exit codes.
func TestTheManualIsWhole(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		text, err := os.ReadFile("../../docs/cli.md")
		if err != nil {
			d.Fatal(err)
		}

		manual, help := string(text), d.must("--help").out

		codes := regexp.MustCompile(`(?m)^  (\d)  (.+)$`).FindAllStringSubmatch(help, -1)
		if len(codes) != 9 {
			d.Errorf("the help tells %d exit codes", len(codes))
		}

		for _, code := range codes {
			if row := "| " + code[1] + " | " + code[2] + " |"; !strings.Contains(manual, row) {
				d.Errorf("the manual lacks %s", row)
			}
		}

		for line := range strings.SplitSeq(d.must("__complete", "").out, "\n") {
			name, _, ok := strings.Cut(line, "\t")
			if ok && name != "help" && !strings.Contains(manual, "`"+name) && !strings.Contains(manual, "deployer "+name) {
				d.Errorf("the manual lacks %s", name)
			}
		}
	})
}
