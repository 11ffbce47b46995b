package cfnresource

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnswersFit(t *testing.T) {
	t.Parallel()

	for name, reason := range map[string]string{
		"short": "no", "exact": strings.Repeat("x", 4096), "long": strings.Repeat("x", 100_000), "quotes": strings.Repeat(`"`, 5000), "wide": strings.Repeat("ü", 5000), "wider": strings.Repeat("𝄞", 3000),
		"controls": strings.Repeat("\x01", 3000), "angles": strings.Repeat("<>&", 2000), "separators": strings.Repeat("\u2028", 2000),
	} {
		a := answer{Status: failure, Reason: reason, PhysicalResourceID: "id", StackID: strings.Repeat("s", 512), RequestID: "r", LogicalResourceID: strings.Repeat("l", 255)}

		b, err := a.encode()
		if err != nil || len(b) > maxAnswer || !utf8.Valid(b) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}

		var back answer
		if err := json.Unmarshal(b, &back); err != nil || back.StackID != a.StackID || back.Reason == "" || !strings.HasPrefix(reason, strings.TrimSuffix(back.Reason, "…")) {
			t.Errorf("%s: %v, the reason is %.40q", name, err, back.Reason)
		}

		if len(reason) > 4096 && len(b) < maxAnswer/2 {
			t.Errorf("%s: cut to %d bytes", name, len(b))
		}
	}

	a := answer{Status: success, Data: map[string]string{"METAFLOW_X": strings.Repeat("x", 4096)}}
	if a.fits() {
		t.Error("what does not fit is said to")
	}

	if _, err := a.encode(); err == nil {
		t.Error("values must not be cut: a part of one is a lie")
	}
}

func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()

	for key, want := range map[string]bool{
		"METAFLOW_DEFAULT_DATASTORE": false, "METAFLOW_DATASTORE_SYSROOT_S3": false, "METAFLOW_DATATOOLS_S3ROOT": false, "METAFLOW_DEFAULT_METADATA": false, "METAFLOW_BATCH_JOB_QUEUE": false,
		"METAFLOW_ECS_S3_ACCESS_IAM_ROLE": false, "METAFLOW_SERVICE_URL": false,
		"METAFLOW_SERVICE_AUTH_KEY": true, "METAFLOW_SERVICE_HEADERS": true, "METAFLOW_AWS_SANDBOX_API_KEY": true, "METAFLOW_DB_PASSWORD": true, "METAFLOW_ARGO_TOKEN": true, "METAFLOW_CLIENT_SECRET": true,
	} {
		if secret(map[string]string{"METAFLOW_DEFAULT_DATASTORE": "s3", key: "v"}) != want {
			t.Errorf("%s is masked: %t", key, !want)
		}
	}
}
