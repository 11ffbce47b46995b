// Command barecli is what a command line needs at the least: cobra with one command that asks one URL and prints the answer. The product's command line is
// measured against it.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "barecli"}
	root.AddCommand(&cobra.Command{Use: "list", RunE: func(c *cobra.Command, _ []string) error {
		r, err := http.NewRequestWithContext(c.Context(), http.MethodGet, os.Getenv("METAFLOW_DEPLOYER_URL")+"/v1/deployments", http.NoBody)
		if err != nil {
			return err
		}

		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()

		_, err = io.Copy(os.Stdout, res.Body)

		return err
	}})

	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
