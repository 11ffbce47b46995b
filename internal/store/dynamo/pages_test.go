package dynamo_test

import (
	"os"
	"testing"

	"github.com/metaflow-deployer/metaflow-deployer/tests/dynamotest"
)

// TestPages reads pages of a hundred out of a thousand deployments and out of 20,000: they cost the same, by DynamoDB's own count. `make bench` does it with a
// million. moto has no such count, so tests/dynamodb/run asks DynamoDB Local only.
func TestPages(t *testing.T) {
	client := server(t)
	if os.Getenv("METAFLOW_DEPLOYER_DYNAMODB_SERIAL") != "" {
		t.Skip("moto does not count capacity as AWS does")
	}

	for _, p := range dynamotest.Pages(t, client, 1000, 20_000) {
		t.Logf("page %s: %+v, of many %+v", p.Where, p.Few, p.Many)

		if p.Few.Queries != p.Many.Queries || p.Few.Units != p.Many.Units || p.Few.Units == 0 {
			t.Errorf("page %s: of 1000 it costs %+v, of 20,000 %+v", p.Where, p.Few, p.Many)
		}
	}
}
