package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/simulation"
)

// maxBodyFile bounds the request's body, and maxKeys a file of keys, in bytes.
const (
	maxBodyFile = 1 << 20
	maxKeys     = 1 << 20
)

// explainOptions are the flags of postern explain.
type explainOptions struct {
	files                           []string
	policy, pod                     string
	request                         simulation.Request
	headers                         []string
	address, bodyFile               string
	token                           target
	claims, provider, jwks, secrets string
	volumes                         string
	client                          explainedClient
	// ownKeys are those of --jwks if they verify the policy's own tokens.
	ownKeys []byte
	access  access
}

func newExplainCommand() *cobra.Command {
	o := &explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain {-f policy.yaml | pod/NAME} --path /x [--method POST] [--token - | --claims JSON]",
		Short: "Print what each stage decides about a request, and which rule decided",
		Long: "Sends one request through the request path of the sidecar, and prints what each stage did, the rule that decided, and the response.\n" +
			"The policy is that of the files, or with pod/NAME the document that the pod runs. Nothing is counted, stored or sent to the app or\n" +
			"the pod: limits and sessions begin empty.\n\n" +
			"--token - reads a token from standard input, and verifies it with the policy's keys, or with those of --jwks. --claims makes a token of\n" +
			"the provider instead. A header DPoP makes DPoP the scheme of the token, and --header \"Authorization: DPoP …\" is a token, too.\n" +
			"No output contains a token.\n\n" +
			"--client-certificate makes a certificate of the client by a CA that the policy trusts for the run. One of --client-certificate-file is\n" +
			"verified with the policy's CAs and revocation lists in --secrets-dir.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.addFlags(cmd)
	return cmd
}

func (o *explainOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "file with manifests, - for standard input; may be repeated, and the files are read as one")
	f.StringVar(&o.policy, "policy", "", "name of the policy, if the files have several")
	f.StringVar(&o.pod, "pod", "", "pod whose policy is explained, as the argument pod/NAME")
	f.StringVar(&o.request.Path, "path", "/", "path and query as a client sends them")
	f.StringVar(&o.request.Method, "method", http.MethodGet, "method")
	f.StringVar(&o.request.Host, "host", "", "field Host (default: app.example.com)")
	f.StringArrayVar(&o.headers, "header", nil, `field of the request, as "Name: value"; may be repeated`)
	f.StringVar(&o.address, "address", "", "address of the client or proxy that connects (default: "+simulation.DefaultAddress.String()+")")
	f.StringVar(&o.request.Body, "body", "", "body of the request")
	f.StringVar(&o.bodyFile, "body-file", "", "file with the body")
	f.StringVar(&o.token.token, "token", "", "only - is allowed: reads the token from standard input")
	f.StringVar(&o.token.tokenFile, "token-file", "", "file with the token")
	f.StringVar(&o.claims, "claims", "", `claims of a token that is made for this run, as JSON: '{"sub": "ada"}'`)
	f.StringVar(&o.provider, "provider", "", "provider of --claims and --jwks, if the policy has several; postern for tokens that the policy itself issues")
	f.StringVar(&o.jwks, "jwks", "", "file with the provider's JSON Web Key Set, in place of its jwks in the policy")
	f.StringVar(&o.secrets, "secrets-dir", "secrets", "folder with Secrets, as <name>/<key>, for keys and users that a policy has there")
	f.StringVar(&o.volumes, "volumes-dir", "volumes", "folder with the content of PersistentVolumeClaims, as <name>/<path>")
	o.client.addFlags(f)
	o.access.addFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("token", "token-file", "claims")
	cmd.MarkFlagsMutuallyExclusive("filename", "pod")
	cmd.MarkFlagsMutuallyExclusive("client-certificate", "client-certificate-file", "plain")
	cmd.MarkFlagsMutuallyExclusive("body", "body-file")
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.complete(args); err != nil {
		return err
	}
	document, note, err := o.document(cmd)
	if err != nil {
		return err
	}
	token, err := o.readToken(cmd.InOrStdin())
	if err != nil {
		return err
	}
	document, verify, err := o.withKeys(document, token)
	if err != nil {
		return err
	}
	if err := o.client.complete(document, &o.request); err != nil {
		return err
	}
	s, err := simulation.New(document, simulation.Config{
		Start: time.Now(), Verify: verify, Existing: o.claims == "", VerifyClients: len(o.request.Sent) > 0, SecretsDir: o.secrets, VolumesDir: o.volumes,
	})
	if err != nil {
		return fmt.Errorf("running policy: %w", err)
	}
	defer s.Close()
	if err := o.addCredential(cmd.Context(), s, token, simulation.Issuer(document, token)); err != nil {
		return err
	}
	result, err := s.Send(cmd.Context(), o.request)
	if err != nil {
		return err
	}
	explanation{document, note, o.request, result, o.hints(document, verify, s, result)}.print(cmd.OutOrStdout())
	return nil
}

// complete reads the flags that are not texts.
func (o *explainOptions) complete(args []string) error {
	if len(args) == 1 {
		name, ok := strings.CutPrefix(args[0], "pod/")
		if !ok || name == "" || o.pod != "" || len(o.files) > 0 {
			return errors.New("unexpected argument: write one pod/NAME for a running pod, or -f before each file") // without it, which may be a token
		}
		o.pod = name
	}
	if o.pod == "" && len(o.files) == 0 {
		return errors.New("name the policy: -f policy.yaml, or pod/NAME for a running pod")
	}
	o.request.Header = http.Header{}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return errors.New(`a --header is not of the form "Name: value"`) // without the value, which may be secret
		}
		if err := o.addHeader(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	var err error
	if o.address != "" {
		if o.request.Address, err = netip.ParseAddr(o.address); err != nil || o.request.Address.Zone() != "" {
			return errors.New("--address is not an address like 203.0.113.7")
		}
	}
	if o.bodyFile != "" {
		body, err := readBounded(o.bodyFile, maxBodyFile)
		if err != nil {
			return fmt.Errorf("reading --body-file: %w", err)
		}
		o.request.Body = string(body)
	}
	return nil
}

// document returns the document to explain, and a note about where it comes from.
func (o *explainOptions) document(cmd *cobra.Command) (*compiled.Policy, string, error) {
	if o.pod != "" {
		return o.access.documentOf(cmd.Context(), o.pod)
	}
	document, err := compileFiles(cmd, o.files, o.policy)
	return document, "from " + strings.Join(o.files, ", "), err
}

// readBounded returns the content of a file of up to limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, err
}
