// Command prices writes internal/prices/prices.json anew from AWS's public price list: for the Regions that it has already, and for those that are named.
// `make prices` runs it in the root of the project. It takes no AWS account, but a connection and some minutes: EC2's list is hundreds of megabytes a Region.
//
// It has been tried on small files in the format of the price list only (internal/prices/testdata), not yet on the real one.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"

	"github.com/metaflow-deployer/metaflow-deployer/internal/prices"
)

const file = "internal/prices/prices.json"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, regions []string) error {
	list, err := prices.Load()
	if err != nil {
		return err
	}

	for _, region := range slices.Compact(slices.Sorted(slices.Values(append(list.Covers(), regions...)))) {
		list, err = prices.Refresh(list, region, func(s prices.Service, region string) (io.ReadCloser, error) { return get(ctx, s.URL(region)) })
		if err != nil {
			return err
		}
	}

	data, err := prices.Format(list)
	if err != nil {
		return err
	}

	return os.WriteFile(file, data, 0o644) //nolint:gosec // a file of the project, to be read by everybody
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}

	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // it says nothing that the status does not

		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}

	return resp.Body, nil
}
