package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
)

// A jwk is an ES256 key pair (RFC 7517, RFC 7518 §6.2). D is empty in a public key.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	D         string `json:"d,omitempty"`
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create keys and tokens to try a policy",
		Long: "Replaces an identity provider on a laptop or in a demo: create a key, put its public key into the policy's jwks.inline,\n" +
			"and sign tokens with it. The private key is in a plain file. Do not use it in production.",
	}
	cmd.AddCommand(newKeyCommand(), newJWKSCommand(), newSignCommand())
	return cmd
}

func newKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "new-key", Short: "Print a new ES256 key pair", Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := generateKey()
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(key)
		},
	}
}

func newJWKSCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "jwks --key key.json", Short: "Print the public key as a JSON Web Key Set", Args: onlyFlags,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readKey(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			key.D = ""
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string][]jwk{"keys": {key}})
		},
	}
	addKeyFlag(cmd, &file)
	return cmd
}

func newSignCommand() *cobra.Command {
	var file string
	var c claims
	cmd := &cobra.Command{
		Use: "sign --key key.json --issuer … --audience … --subject …", Short: "Print a token signed with the key", Args: onlyFlags,
		Long: "Prints a token signed with the key. --issuer must equal the issuer of the policy's provider, and --audience one of its audiences.\n" +
			"A warning on standard error names what is missing. The token is printed nevertheless, to try what a policy does with it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readKey(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			token, err := sign(key, c, time.Now())
			if err != nil {
				return err
			}
			for _, text := range c.missing() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+text)
			}
			fmt.Fprintln(cmd.OutOrStdout(), token)
			return nil
		},
	}
	addKeyFlag(cmd, &file)
	cmd.Flags().StringVar(&c.issuer, "issuer", "", "iss; no provider accepts a token without it")
	cmd.Flags().StringArrayVar(&c.audiences, "audience", nil, "aud; may be repeated, and providers with audiences require one")
	cmd.Flags().StringVar(&c.subject, "subject", "", "sub, whom the token is for")
	cmd.Flags().DurationVar(&c.lifetime, "lifetime", 15*time.Minute, "time from iat to exp; negative for an expired token")
	cmd.Flags().StringArrayVar(&c.others, "claim", nil, "name=value, where value is JSON, or a string if it is not valid JSON; may be repeated")
	return cmd
}

func addKeyFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "key", "", "file with a key pair, - for standard input")
	_ = cmd.MarkFlagRequired("key")
}

func generateKey() (jwk, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return jwk{}, fmt.Errorf("generating key: %w", err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return jwk{}, fmt.Errorf("encoding key: %w", err)
	}
	d, err := private.Bytes()
	if err != nil {
		return jwk{}, fmt.Errorf("encoding key: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return jwk{
		KeyType: "EC", Curve: "P-256", X: b64(point[1:33]), Y: b64(point[33:]), D: b64(d),
		KeyID: hex.EncodeToString(point[1:9]), Algorithm: "ES256", Use: "sig",
	}, nil
}

func readKey(file string, stdin io.Reader) (jwk, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return jwk{}, err
		}
		defer f.Close()
		in = f
	}
	var key jwk
	if err := json.NewDecoder(io.LimitReader(in, 1<<16)).Decode(&key); err != nil {
		return jwk{}, fmt.Errorf("reading key: %w", err)
	}
	return key, nil
}

type claims struct {
	issuer, subject   string
	audiences, others []string
	lifetime          time.Duration
}

// missing warns about each claim that a policy needs, and that neither a flag nor --claim sets.
func (c claims) missing() (warnings []string) {
	has := func(name string) bool {
		return slices.ContainsFunc(c.others, func(other string) bool { return strings.HasPrefix(other, name+"=") })
	}
	if c.issuer == "" && !has("iss") {
		warnings = append(warnings, "the token has no iss, so no provider of a policy accepts it: add --issuer with the issuer of the provider")
	}
	if len(c.audiences) == 0 && !has("aud") {
		warnings = append(warnings, "the token has no aud, so a provider with audiences refuses it: add --audience with one of them")
	}
	if c.subject == "" && !has("sub") {
		warnings = append(warnings, "the token has no sub, so it is for nobody: limits, headers and revocations by subject do not apply: add --subject")
	}
	return warnings
}

func sign(key jwk, c claims, now time.Time) (string, error) {
	d, err := base64.RawURLEncoding.DecodeString(key.D)
	if err != nil || key.Algorithm != "ES256" || len(d) != 32 {
		return "", errors.New("reading key: it is not an ES256 key pair; create one with: postern token new-key")
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return "", fmt.Errorf("reading key: %w", err)
	}
	issued := now
	if c.lifetime < 0 {
		issued = now.Add(2 * c.lifetime)
	}
	content := jwt.MapClaims{"iat": issued.Unix(), "exp": now.Add(c.lifetime).Unix(), "jti": rand.Text()}
	for name, value := range map[string]string{"iss": c.issuer, "sub": c.subject} {
		if value != "" {
			content[name] = value
		}
	}
	if len(c.audiences) > 0 {
		content["aud"] = c.audiences
	}
	if err := addClaims(content, c.others); err != nil {
		return "", err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, content)
	token.Header["kid"] = key.KeyID
	return token.SignedString(private)
}

func addClaims(content jwt.MapClaims, others []string) error {
	for _, other := range others {
		name, text, ok := strings.Cut(other, "=")
		if !ok || name == "" {
			return fmt.Errorf("--claim %q is not of the form name=value", other)
		}
		var value any = text
		if json.Valid([]byte(text)) {
			_ = json.Unmarshal([]byte(text), &value)
		}
		content[name] = value
	}
	return nil
}
