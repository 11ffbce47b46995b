package cli_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation/door"
)

// TestTheExamplesWork runs what the manual and the help show of files, with the file that the manual shows.
func TestTheExamplesWork(t *testing.T) {
	t.Parallel()
	sit(t, func(d *desk) {
		text, err := os.ReadFile("../../docs/cli.md")
		if err != nil {
			d.Fatal(err)
		}

		manual := string(text)
		d.write("research.yaml", regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(manual)[1])

		d.Before = func(r door.Request) (*door.Reply, error) {
			switch {
			case strings.HasSuffix(r.Path, ":plan"):
				return door.Answer(200, `{"steps":[]}`), nil
			case r.Method == http.MethodGet && strings.Contains(r.Path, "/deployments/"):
				return door.Answer(200, `{"name":"research","phase":"ACTIVE","spec":{}}`), nil
			}

			return door.Answer(200, `{"id":"x","done":true,"state":"SUCCEEDED"}`), nil
		}

		for from, text := range map[string]string{"the manual": manual, "create": d.must("create", "--help").out, "update": d.must("update", "--help").out} {
			examples := regexp.MustCompile(`(?m)^ *metaflow-deployer (\w+ .*-f research\.yaml.*)$`).FindAllStringSubmatch(text, -1)
			if len(examples) == 0 {
				d.Errorf("%s shows no file at work", from)
			}

			for _, example := range examples {
				d.must(strings.Fields(example[1])...)
			}
		}
	})
}

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
