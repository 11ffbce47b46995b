package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

func (s *session) config() *cobra.Command {
	c := &cobra.Command{
		Use: "config NAME", Short: "Print the Metaflow configuration, or install it as a profile", Args: arguments, ValidArgsFunction: s.names,
		Long: "Print the configuration of an active deployment as Metaflow reads it; --format env writes exports for a shell, with the Region.\n" +
			"config install keeps it as a profile of Metaflow's. The program prints what to do next on standard error.",
	}

	format := c.Flags().String("format", "json", "json: Metaflow's config.json; env: shell exports, with the Region")
	_ = c.RegisterFlagCompletionFunc("format", fixed("json", "env")) // the flag is there

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		if *format != "json" && *format != "env" {
			return misused("--format %s: it is json or env", *format)
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		text, err := api.Configuration(ctx, args[0], client.Format(*format))
		if err != nil {
			return err
		}

		if s.output == "yaml" && *format == "json" {
			return printDoc(s.Out, s.output, text)
		}

		_, err = s.Out.Write(text)

		return err
	})

	c.AddCommand(s.install())

	return c
}

func (s *session) install() *cobra.Command {
	c := &cobra.Command{
		Use: "install NAME", Short: "Install the configuration as a profile of Metaflow's", Args: arguments, ValidArgsFunction: s.names,
		Long: "Write the configuration to config_PROFILE.json in Metaflow's directory ($METAFLOW_HOME, by default ~/.metaflowconfig), where Metaflow finds it\n" +
			"once METAFLOW_PROFILE names it. A file that says something else is left as it is unless --force is given.",
		Example: "  " + Name + " config install research --profile research\n  export METAFLOW_PROFILE=research",
	}

	profile := c.Flags().String("profile", "", "name of the profile; by default the deployment's")
	force := c.Flags().Bool("force", false, "overwrite a profile that says something else")

	c.RunE = s.run(func(ctx context.Context, args []string) error {
		name := *profile
		if name == "" {
			name = args[0]
		}

		if !profileName.MatchString(name) {
			return misused("--profile %s: a profile's name is of letters, digits, dots, hyphens and underscores", name)
		}

		api, err := s.client(ctx)
		if err != nil {
			return err
		}

		text, err := api.Configuration(ctx, args[0], client.JSON)
		if err != nil {
			return err
		}

		d, err := api.Deployment(ctx, args[0])
		if err != nil {
			return err
		}

		config, err := flat(text)
		if err != nil {
			return err
		}

		path := filepath.Join(s.metaflowHome(), "config_"+name+".json")
		if err := keep(path, text, config, *force); err != nil {
			return err
		}

		return s.installed(path, name, d.Region, config)
	})

	return c
}

// profileName keeps a profile inside Metaflow's directory.
var profileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// metaflowHome is where Metaflow looks, by its own rule: $METAFLOW_HOME even if it is empty of files, with ~ spelled out.
// https://github.com/Netflix/metaflow/blob/master/metaflow/metaflow_config_funcs.py
func (s *session) metaflowHome() string {
	home := s.Getenv("METAFLOW_HOME")
	if home == "" {
		home = "~/.metaflowconfig"
	}

	if home == "~" || strings.HasPrefix(home, "~/") {
		home = s.Home + strings.TrimPrefix(home, "~")
	}

	if !filepath.IsAbs(home) {
		home = filepath.Join(s.Dir, home)
	}

	return home
}

// flat checks that a text is what Metaflow can live with: one object whose members are all METAFLOW_ keys with texts. Metaflow takes anything that is
// JSON, and breaks on it later, even in its own `configure`.
func flat(text []byte) (map[string]string, error) {
	var config map[string]string
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("the answer is no configuration of Metaflow's: %w", err)
	}

	for key := range config {
		if !strings.HasPrefix(key, "METAFLOW_") {
			return nil, fmt.Errorf("the answer is no configuration of Metaflow's: it has a member %q", key)
		}
	}

	if len(config) == 0 {
		return nil, errors.New("the answer is no configuration of Metaflow's: it is empty")
	}

	return config, nil
}

// keep writes a profile whole or not at all, readable by its owner only: it may hold keys.
func keep(path string, text []byte, config map[string]string, force bool) error {
	there, err := os.ReadFile(path) // #nosec G304 -- a profile of the person's own

	switch {
	case err == nil:
		var old map[string]string
		if json.Unmarshal(there, &old) == nil && maps.Equal(old, config) {
			return os.Chmod(path, 0o600)
		}

		if !force && len(bytes.TrimSpace(there)) > 0 {
			return &ended{code: codeConflict, why: path + " says something else. Choose another --profile, or overwrite it with --force."}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at the profile that is there: %w", err)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make Metaflow's directory: %w", err)
	}

	return replace(path, text)
}

// replace writes a file beside the one that is there, and takes its place in one step. CreateTemp makes it 0600.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}

	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // nothing half-done stays
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()

	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}

	return os.Rename(f.Name(), path)
}

// installed says what is left to do, and what would stand before the profile: Metaflow takes a variable of the environment first, then the project's own
// .metaflow/config.json, then the profile.
func (s *session) installed(path, profile, region string, config map[string]string) error {
	if s.output != "text" {
		b, err := json.Marshal(map[string]string{"path": path, "profile": profile, "region": region})
		if err != nil {
			return err
		}

		if err := printDoc(s.Out, s.output, b); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(s.Err, "The profile %s stands in %s. In every shell that is to use it:\n\n", profile, path)
		fmt.Fprintf(s.Out, "export METAFLOW_PROFILE=%s\nexport AWS_DEFAULT_REGION=%s\n", profile, region)
	}

	for _, key := range slices.Sorted(maps.Keys(config)) {
		if i := slices.IndexFunc(s.Environ, func(v string) bool { return strings.HasPrefix(v, key+"=") }); i >= 0 && s.Environ[i] != key+"="+config[key] {
			fmt.Fprintf(s.Err, "\nNote: %s is set in this shell and goes before the profile; unset it.\n", key)
		}
	}

	if local := s.projectConfig(); local != "" {
		var own map[string]any

		text, err := os.ReadFile(local) // #nosec G304 -- what Metaflow would read, too
		if err == nil && json.Unmarshal(text, &own) == nil {
			for _, key := range slices.Sorted(maps.Keys(config)) {
				if v, ok := own[key]; ok && v != config[key] {
					fmt.Fprintf(s.Err, "\nNote: in this project %s sets %s, which goes before the profile.\n", local, key)
				}
			}
		}
	}

	return nil
}

// projectConfig finds the file that Metaflow would read in this directory: the first .metaflow upwards, whether it holds one or not.
func (s *session) projectConfig() string {
	for dir := s.Dir; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, ".metaflow")); err == nil && info.IsDir() {
			return filepath.Join(dir, ".metaflow", "config.json")
		}

		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}
