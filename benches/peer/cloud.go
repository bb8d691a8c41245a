package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cloud is a client of the API's version 2, as its documents describe it (372/4153).
type Cloud struct {
	Endpoint *url.URL
	HTTP     *http.Client
}

type Credentials struct {
	ID, Key string
}

type Instance struct {
	RedisID string `json:"redisId"`
	Size    int64  `json:"size"`
	Status  int    `json:"status"`
}

const running = 2

// DescribeRedis returns one instance, or nil when there is none.
func (c *Cloud) DescribeRedis(ctx context.Context, credentials Credentials, region, redisID string) (*Instance, error) {
	var data struct {
		RedisSet []Instance `json:"redisSet"`
	}
	parameters := map[string]string{"redisId": redisID}
	if err := c.call(ctx, credentials, "DescribeRedis", region, parameters, &data); err != nil {
		return nil, err
	}
	if len(data.RedisSet) == 0 {
		return nil, nil
	}
	return &data.RedisSet[0], nil
}

// UpgradeRedis orders a size and returns the number of the deal.
func (c *Cloud) UpgradeRedis(ctx context.Context, credentials Credentials, region, redisID string, memSize int64) (string, error) {
	var data struct {
		DealID string `json:"dealId"`
	}
	parameters := map[string]string{"redisId": redisID, "memSize": strconv.FormatInt(memSize, 10)}
	err := c.call(ctx, credentials, "UpgradeRedis", region, parameters, &data)
	return data.DealID, err
}

func (c *Cloud) call(ctx context.Context, credentials Credentials, action, region string, parameters map[string]string, data any) error {
	parameters["Action"] = action
	parameters["Region"] = region
	parameters["Timestamp"] = strconv.FormatInt(time.Now().Unix(), 10)
	parameters["Nonce"] = strconv.FormatUint(rand.Uint64()>>2, 10)
	parameters["SecretId"] = credentials.ID

	form := url.Values{}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		form.Set(name, parameters[name])
		pairs = append(pairs, strings.ReplaceAll(name, "_", ".")+"="+parameters[name])
	}
	mac := hmac.New(sha1.New, []byte(credentials.Key))
	fmt.Fprintf(mac, "POST%s%s?%s", c.Endpoint.Host, c.Endpoint.Path, strings.Join(pairs, "&"))
	form.Set("Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer response.Body.Close()
	var answer struct {
		Code     json.RawMessage `json:"code"`
		CodeDesc string          `json:"codeDesc"`
		Message  string          `json:"message"`
		Data     json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if code := strings.Trim(string(answer.Code), `"`); code != "0" {
		return fmt.Errorf("%s: %s %s: %s", action, code, answer.CodeDesc, answer.Message)
	}
	return json.Unmarshal(answer.Data, data)
}
