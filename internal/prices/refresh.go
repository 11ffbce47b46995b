package prices

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Service is a service of AWS's price list, by its code, and what we want out of it.
type Service struct {
	Code string
	find func(row row) (name string, p deploy.Price, ok bool)
}

// Services lists the price lists that hold what we ask for.
func Services() []Service {
	return []Service{
		{"AmazonEC2", ec2},
		{"AmazonVPC", usage("PublicIPv4:InUseAddress", "ipv4", "hour")},
		{"AmazonS3", s3},
		{"AmazonCloudWatch", usage("DataProcessing-Bytes", "logs/ingest", "GB")},
	}
}

// URL is where AWS offers a service's current price list of a Region to everybody. AWS Billing user guide, "Getting price list files manually".
func (s Service) URL(region string) string {
	return "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/" + s.Code + "/current/" + region + "/index.csv"
}

// row is one line of a price list, by column.
type row map[string]string

// Read takes the wanted prices out of a service's price list in CSV. The file begins with lines of a name and a value, goes on with the names of columns, and
// then has one price a line; EC2's is hundreds of megabytes, so it is read line by line. AWS Billing user guide, "Reading the service price list file".
func (s Service) Read(r io.Reader) (found map[string]deploy.Price, published string, err error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.ReuseRecord = -1, true

	var columns []string

	found = map[string]deploy.Price{}

	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return nil, "", fmt.Errorf("read the price list of %s: %w", s.Code, err)
		}

		switch {
		case columns == nil && fields[0] == "SKU":
			columns = slices.Clone(fields)
		case columns == nil:
			if fields[0] == "Publication Date" && len(fields) > 1 {
				published = strings.Clone(fields[1])
			}
		default:
			if err := s.take(found, columns, fields); err != nil {
				return nil, "", err
			}
		}
	}

	if columns == nil || published == "" {
		return nil, "", fmt.Errorf("the price list of %s has no publication date or no columns: its format has changed", s.Code)
	}

	return found, published, nil
}

func (s Service) take(found map[string]deploy.Price, columns, fields []string) error {
	line := row{}

	for i, c := range columns {
		if i < len(fields) {
			line[c] = fields[i]
		}
	}

	// The first tier of what customers pay as they go, in the Region itself: not in a Local Zone, and not reserved.
	if line["TermType"] != "OnDemand" || line["Currency"] != "USD" || line["Location Type"] != "AWS Region" ||
		line["StartingRange"] != "" && line["StartingRange"] != "0" {
		return nil
	}

	name, p, ok := s.find(line)
	if !ok {
		return nil
	}

	usd, err := strconv.ParseFloat(line["PricePerUnit"], 64)
	if err != nil {
		return fmt.Errorf("the price of %s is %q: %w", name, line["PricePerUnit"], err)
	}

	if p.USD != 0 { // the price is of so many of the unit
		usd /= p.USD
	}

	p.USD = math.Round(usd*1e9) / 1e9

	if other, twice := found[name]; twice && other != p {
		return fmt.Errorf("%s has two prices, %g and %g: its place in the price list has changed", name, other.USD, p.USD)
	}

	found[name] = p

	return nil
}

// ec2 finds the large size of each instance family, of which the others are multiples, and gp3 volumes.
func ec2(line row) (string, deploy.Price, bool) {
	if of(line, "EBS:VolumeUsage.gp3") {
		return "ebs/gp3", deploy.Price{Unit: "GB-month"}, true
	}

	family, size, _ := strings.Cut(line["Instance Type"], ".")

	plain := line["Product Family"] == "Compute Instance" && line["Operating System"] == "Linux" && line["Tenancy"] == "Shared" &&
		line["CapacityStatus"] == "Used" && line["Pre Installed S/W"] == "NA" && line["Unit"] == "Hrs"
	if !plain || size != "large" {
		return "", deploy.Price{}, false
	}

	vcpus, err := strconv.Atoi(line["vCPU"])
	if err != nil || vcpus == 0 {
		return "", deploy.Price{}, false
	}

	return "ec2/" + family, deploy.Price{USD: float64(vcpus), Unit: "vCPU-hour"}, true
}

func s3(line row) (string, deploy.Price, bool) {
	switch {
	case of(line, "TimedStorage-ByteHrs"):
		return "s3/storage", deploy.Price{Unit: "GB-month"}, true
	case of(line, "Requests-Tier1"):
		return "s3/write", deploy.Price{Unit: "request"}, true
	case of(line, "Requests-Tier2"):
		return "s3/read", deploy.Price{Unit: "request"}, true
	}

	return "", deploy.Price{}, false
}

func usage(usageType, name, unit string) func(row) (string, deploy.Price, bool) {
	return func(line row) (string, deploy.Price, bool) {
		return name, deploy.Price{Unit: unit}, of(line, usageType)
	}
}

// of tells whether a line is of a type of usage. Outside us-east-1 the Region's short name stands before it: "EUC1-TimedStorage-ByteHrs".
func of(line row, usageType string) bool {
	region, rest, prefixed := strings.Cut(line["usageType"], "-")

	return line["usageType"] == usageType || prefixed && rest == usageType && region == strings.ToUpper(region)
}

// Refresh puts a Region's prices into a list: of all that it has for any Region, nothing else. Open gives a service's price list. Date becomes the day of
// publication, the oldest of the services'.
func Refresh(list deploy.PriceList, region string, open func(s Service, region string) (io.ReadCloser, error)) (deploy.PriceList, error) {
	fresh, date := map[string]deploy.Price{}, ""

	for _, s := range Services() {
		body, err := open(s, region)
		if err != nil {
			return list, err
		}

		found, published, err := s.Read(body)
		_ = body.Close() // nothing was written to it

		if err != nil {
			return list, err
		}

		if day, _, _ := strings.Cut(published, "T"); date == "" || day < date {
			date = day
		}

		for name, p := range found {
			if wanted(list, name) {
				fresh[name] = p
			}
		}
	}

	// Some Regions lack instance families; everything else is everywhere.
	for _, name := range []string{"ebs/gp3", "ipv4", "s3/storage", "s3/write", "s3/read", "logs/ingest"} {
		if _, ok := fresh[name]; !ok {
			return list, fmt.Errorf("the price lists of %s have no %s: its place in them has changed", region, name)
		}
	}

	list.Regions[region], list.Date, list.Source = fresh, date, "AWS Price List Bulk API; On-Demand, first tier, no free tier"

	return list, nil
}

// Format writes a price list as the file holds it.
func Format(list deploy.PriceList) ([]byte, error) {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the price list: %w", err)
	}

	return append(data, '\n'), nil
}

func wanted(list deploy.PriceList, name string) bool {
	for _, known := range list.Regions {
		if _, ok := known[name]; ok {
			return true
		}
	}

	return false
}
