package deploy_test

import (
	"strings"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

func TestScrub(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, in, want string }{
		"plain": {"what holds no secret is shown as it is", "bucket x is not there", "bucket x is not there"},
		"lines": {"one line", "a\nb\tc", "a b c"},
		"url": {
			"Go's HTTP client quotes the URL, which may be signed", `Get "https://s3/b?X-Amz-Credential=AKIA/x&X-Amz-Signature=beef&list-type=2": EOF`,
			`Get "https://s3/b?X-Amz-Credential=...&X-Amz-Signature=...&list-type=2": EOF`,
		},
		"end":   {"a secret may be the last word", "https://x/?X-Amz-Security-Token=secret", "https://x/?X-Amz-Security-Token=..."},
		"words": {"only values go", "header X-Amz-Date: missing, see X-Amz-", "header X-Amz-Date: missing, see X-Amz-"},
		"long":  {"1 KiB", strings.Repeat("x", 2000), strings.Repeat("x", 1021) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if got := deploy.Scrub(tc.in); got != tc.want {
				t.Errorf("got %q, want %q (%s)", got, tc.want, tc.reason)
			}
		})
	}
}
