// Package prices keeps AWS's prices of what the product makes, in prices.json, and reads new ones out of AWS's own price list. It must not know kinds: they
// ask for prices by name.
//
// Names are "ec2/<family>" (a vCPU for an hour, On-Demand, Linux), "ebs/gp3", "ipv4", "s3/storage", "s3/write", "s3/read" and "logs/ingest". A Region that
// the file does not have is not priced; no price is ever taken from another Region.
package prices

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

//go:embed prices.json
var file []byte

// Load reads the price list that the product was built with.
func Load() (deploy.PriceList, error) { return Parse(file) }

// Parse reads a price list as the file holds it.
func Parse(data []byte) (deploy.PriceList, error) {
	var list deploy.PriceList
	if err := json.Unmarshal(data, &list); err != nil {
		return list, fmt.Errorf("read the price list: %w", err)
	}

	return list, nil
}
