package prices_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/prices"
)

var update = flag.Bool("update", false, "write prices.json in the form in which the command writes it")

func TestTheFileIsWhole(t *testing.T) {
	t.Parallel()

	list, err := prices.Load()
	if err != nil {
		t.Fatal(err)
	}

	if list.Date == "" || list.Source == "" {
		t.Error("a price without a date and a source is a rumour")
	}

	if _, ok := list.Regions["us-east-1"]; !ok {
		t.Error("us-east-1 is not priced")
	}

	for region, known := range list.Regions {
		for name, p := range known {
			if p.USD <= 0 || p.Unit == "" {
				t.Errorf("%s in %s: %+v", name, region, p)
			}
		}
	}

	want, err := prices.Format(list)
	if err != nil {
		t.Fatal(err)
	}

	if *update {
		if err := os.WriteFile("prices.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	have, err := os.ReadFile("prices.json")
	if err != nil {
		t.Fatal(err)
	}

	if !bytes.Equal(have, want) {
		t.Error("prices.json is not in the form in which make prices writes it")
	}
}

func recorded(s prices.Service, _ string) (io.ReadCloser, error) {
	return os.Open(filepath.Join("testdata", s.Code+".csv"))
}

// known is a list that asks for two families and all the rest.
func known() deploy.PriceList {
	all := map[string]deploy.Price{}
	for _, name := range []string{"ec2/m5", "ec2/c5", "ec2/p9", "ebs/gp3", "ipv4", "s3/storage", "s3/write", "s3/read", "logs/ingest"} {
		all[name] = deploy.Price{USD: 1, Unit: "old"}
	}

	return deploy.PriceList{Date: "2020-01-01", Source: "old", Regions: map[string]map[string]deploy.Price{"us-east-1": all}}
}

func TestRefreshTakesTheRightLines(t *testing.T) {
	t.Parallel()

	got, err := prices.Refresh(known(), "eu-central-1", recorded)
	if err != nil {
		t.Fatal(err)
	}

	// Of many lines of the same type: Linux, shared, On-Demand, in the Region, the first tier.
	want := map[string]deploy.Price{
		"ec2/m5": {USD: 0.0575, Unit: "vCPU-hour"}, "ec2/c5": {USD: 0.0485, Unit: "vCPU-hour"}, "ebs/gp3": {USD: 0.0952, Unit: "GB-month"},
		"ipv4": {USD: 0.005, Unit: "hour"}, "s3/storage": {USD: 0.0245, Unit: "GB-month"}, "s3/write": {USD: 0.0000054, Unit: "request"},
		"s3/read": {USD: 0.00000043, Unit: "request"}, "logs/ingest": {USD: 0.63, Unit: "GB"},
	}
	if diff := cmp.Diff(want, got.Regions["eu-central-1"]); diff != "" {
		t.Errorf("prices (-want +got):\n%s", diff)
	}

	if got.Date != "2026-09-12" || got.Source == "old" {
		t.Errorf("the list is of %s, from %q", got.Date, got.Source)
	}

	if got.Regions["us-east-1"]["ipv4"].Unit != "old" {
		t.Error("another Region's prices have changed")
	}
}

func TestRefreshDoesNotGuess(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ reason, service, from, to, want string }{
		"NoDate":    {"a list that does not say how old it is", "AmazonS3", "Publication Date", "Published", "no publication date"},
		"NoColumns": {"another format", "AmazonS3", `"SKU"`, `"Sku"`, "no columns"},
		"Renamed":   {"a type of usage that is called otherwise", "AmazonVPC", "PublicIPv4:InUseAddress", "PublicIPv4:Used", "no ipv4"},
		"Twice":     {"two lines that both fit", "AmazonVPC", "PublicIPv4:IdleAddress\",", "PublicIPv4:InUseAddress\",", ""},
		"Differing": {"two lines that both fit and differ", "AmazonVPC", "EUC1-VpcEndpoint-Hours", "EUC1-PublicIPv4:InUseAddress", "two prices"},
		"NoNumber":  {"not a price", "AmazonCloudWatch", "0.6300000000", "free", `is "free"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := prices.Refresh(known(), "eu-central-1", func(s prices.Service, region string) (io.ReadCloser, error) {
				body, err := recorded(s, region)
				if err != nil || s.Code != tc.service {
					return body, err
				}

				text, err := io.ReadAll(body)

				return io.NopCloser(strings.NewReader(strings.ReplaceAll(string(text), tc.from, tc.to))), err
			})

			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
