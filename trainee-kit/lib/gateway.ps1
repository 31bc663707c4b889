# Asking the gateway, and saying in plain words what is wrong. setup.ps1 and agent.ps1 read this file,
# after settings.ps1. It does what gateway.sh does.

Add-Type -AssemblyName System.Net.Http
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
[Net.ServicePointManager]::Expect100Continue = $false

# A page that always says the same, over plain HTTP: what a venue's sign-in page gets hold of first.
$ProbeUrl = 'http://detectportal.firefox.com/success.txt'
if ($env:KIT_PROBE_URL) { $ProbeUrl = $env:KIT_PROBE_URL }

# A clock that is further off than this, in seconds, breaks secure connections sooner or later.
$ClockTolerance = 300

# What is left for the network, in seconds: a whole set-up takes less than 30.
$script:SecondsLeft = 25

# One client for all requests. Keys stay in this process: no list of processes shows them.
$handler = New-Object System.Net.Http.HttpClientHandler
$handler.AllowAutoRedirect = $false
$handler.UseCookies = $false
$Client = New-Object System.Net.Http.HttpClient($handler)
$Client.Timeout = [Threading.Timeout]::InfiniteTimeSpan

# A request with all that says who asks.
function New-Request([string]$Method, [string]$Url, [string]$Body) {
    $request = New-Object System.Net.Http.HttpRequestMessage((New-Object System.Net.Http.HttpMethod($Method)), $Url)
    if ($Body) {
        $request.Content = New-Object System.Net.Http.StringContent($Body, [Text.Encoding]::UTF8, 'application/json')
    }
    if ($Url -eq $ProbeUrl) { return $request }
    $headers = $request.Headers
    $null = $headers.TryAddWithoutValidation('X-User-ID', $Settings.USER_ID)
    $bearer = $Settings.OPENCLAW_GATEWAY_KEY
    if ($bearer -clike 'ogk_*' -and $Settings.OPENAI_API_KEY) {
        $null = $headers.TryAddWithoutValidation('X-Gateway-Key', $bearer)
        $bearer = $Settings.OPENAI_API_KEY
    } elseif (-not $bearer) {
        $bearer = $Settings.OPENAI_API_KEY
    }
    # An OpenClaw of one's own has one token, and knows no gateway.
    if ($bearer) { $null = $headers.TryAddWithoutValidation('Authorization', "Bearer $bearer") }
    if ($Settings.PROJECT_ID) { $null = $headers.TryAddWithoutValidation('X-Project-ID', $Settings.PROJECT_ID) }
    $request
}

# Waits for a task without keeping Ctrl-C waiting; whether it has ended in time.
function Wait-Task($Task, [double]$Seconds) {
    $clock = [Diagnostics.Stopwatch]::StartNew()
    while (-not $Task.IsCompleted) {
        if ($clock.Elapsed.TotalSeconds -gt $Seconds) { return $false }
        Start-Sleep -Milliseconds 10
    }
    $true
}

# What went wrong on the way: name, refused, tls, timeout or broken.
function Get-Trouble($Failure) {
    for ($cause = $Failure; $cause; $cause = $cause.InnerException) {
        if ($cause -is [System.Security.Authentication.AuthenticationException]) { return 'tls' }
        if ($cause -is [System.Net.Sockets.SocketException]) {
            switch ([string]$cause.SocketErrorCode) {
                { 'HostNotFound', 'NoData', 'TryAgain', 'NoRecovery' -contains $_ } { return 'name' }
                'TimedOut' { return 'timeout' }
                default { return 'refused' }
            }
        }
        if ($cause -is [System.Net.WebException]) {
            switch ([string]$cause.Status) {
                { 'NameResolutionFailure', 'ProxyNameResolutionFailure' -contains $_ } { return 'name' }
                { 'TrustFailure', 'SecureChannelFailure' -contains $_ } { return 'tls' }
                'Timeout' { return 'timeout' }
                'ConnectFailure' { return 'refused' }
            }
        }
    }
    'broken'
}

# Asks for a URL, for at most so many seconds: the trouble on the way (empty where an answer came), the
# status, the body, and two headers.
function Invoke-Gateway([int]$Patience, [string]$Method, [string]$Url, [string]$Body) {
    $seconds = [Math]::Max(1, [Math]::Min($Patience, $script:SecondsLeft))
    $clock = [Diagnostics.Stopwatch]::StartNew()
    $result = @{ Trouble = ''; Status = 0; Answer = ''; Date = $null; RetryAfter = $null }
    try {
        $sending = $Client.SendAsync((New-Request $Method $Url $Body))
        if (-not (Wait-Task $sending $seconds)) {
            $Client.CancelPendingRequests()
            $result.Trouble = 'timeout'
        } elseif ($sending.IsFaulted -or $sending.IsCanceled) {
            $result.Trouble = Get-Trouble $sending.Exception
        } else {
            Set-Head $result $sending.Result
            # It is here whole: nothing is waited for any more.
            $result.Answer = $sending.Result.Content.ReadAsStringAsync().Result
        }
    } catch {
        $result.Trouble = Get-Trouble $_.Exception
    }
    $script:SecondsLeft -= [int]$clock.Elapsed.TotalSeconds
    $result
}

# The status and the headers of an answer.
function Set-Head($Result, $Response) {
    $Result.Status = [int]$Response.StatusCode
    $Result.Date = $Response.Headers.Date
    if ($Response.Headers.RetryAfter -and $Response.Headers.RetryAfter.Delta) {
        $Result.RetryAfter = [int]$Response.Headers.RetryAfter.Delta.TotalSeconds
    }
}

# JSON as an object; nothing where it is none.
function Read-Json([string]$Text) {
    if (-not $Text -or -not $Text.TrimStart().StartsWith('{')) { return }
    try { ConvertFrom-Json $Text } catch { return }
}

# Text without what would steer the terminal.
function Get-Plain([string]$Text) {
    $plain = $Text -replace '[\x00-\x08\x0B-\x1F\x7F]', ''
    # C1 controls, and what turns the direction of writing.
    $plain -replace '[\u0080-\u009F\u202A-\u202E\u2066-\u2069]', [string][char]0xFFFD
}

# The gateway's own words for what is wrong, without any key, and the code for programs.
function Get-ItsWords($Result) {
    $body = Read-Json $Result.Answer
    $words = @{ Text = ''; Code = '' }
    if ($body -and $body.error) {
        $words.Text = Get-Plain ([string]$body.error.message)
        $words.Code = [string]$body.error.code
    }
    foreach ($secret in $Settings.OPENCLAW_GATEWAY_KEY, $Settings.OPENAI_API_KEY, $Settings.CLAIM_CODE) {
        if ($secret) { $words.Text = $words.Text.Replace($secret, '...') }
    }
    $words
}

# Ends with what the gateway, or the agent behind it, says of a request that it didn't answer.
function Stop-Refused($Result) {
    $words = Get-ItsWords $Result
    $text = $words.Text
    $status = $Result.Status
    if ($status -eq 401 -or $status -eq 410) {
        # The gateway's errors have a code and say what to do; others' may say a word.
        if ($words.Code -and $text) { Stop-Kit $NotLetIn "$text" }
        $detail = ''
        if ($text) { $detail = " ($text)" }
        $url = $Settings.OPENCLAW_URL
        Stop-Kit $NotLetIn "Your key isn't right for $url$detail. Copy it again into .env, whole, or ask the operator for a new one."
    }
    if ($status -ge 500) {
        if (-not $text) { $text = "The gateway has trouble of its own (it answered $status). Try again in a minute, or tell the operator." }
        Stop-Kit $UpstreamDown "$text"
    }
    if ($text) {
        if ($status -eq 400) { Stop-Kit $BadSettings "$text" }
        if ($status -eq 402 -or $status -eq 429 -or $words.Code -eq 'user_blocked') { Stop-Kit $NoMore "$text" }
        if ($status -eq 403 -or $words.Code -eq 'invalid_code') { Stop-Kit $NotLetIn "$text" }
        if ($status -eq 404) { Stop-Kit $WrongAddress "$text" }
        Stop-Kit $UpstreamDown "$text"
    }
    Stop-Diagnosed $Result
}

# Whether an answer is one of a gateway's, or of an OpenClaw's, to GET /health.
function Test-Healthy($Result) {
    $body = Read-Json $Result.Answer
    $Result.Status -eq 200 -and $body -and ($body.PSObject.Properties.Name -contains 'status' -or $body.PSObject.Properties.Name -contains 'ok')
}

# Ends where this computer's clock is far from the one of whoever gave an answer.
function Assert-Clock($Result) {
    if (-not $Result.Date) { return }
    $off = ([DateTimeOffset]::UtcNow - $Result.Date).TotalSeconds
    $distance = [Math]::Abs($off)
    if ($distance -le $ClockTolerance) { return }
    if ($distance -ge 172800) { $amount = [string][Math]::Round($distance / 86400) + ' days' }
    elseif ($distance -ge 7200) { $amount = [string][Math]::Round($distance / 3600) + ' hours' }
    else { $amount = [string][Math]::Round($distance / 60) + ' minutes' }
    if ($off -gt 0) { $amount += ' fast' } else { $amount += ' slow' }
    Stop-Kit $ClockOff "Your computer's clock is $amount. Set date and time to `"automatic`" in the system's settings, then run this again."
}

# Ends with the reason why no gateway answered, after a request came to nothing.
function Stop-Diagnosed($Result) {
    $url = $Settings.OPENCLAW_URL
    $name = $script:HostName
    $said = $Result.Status
    if ($said) { Assert-Clock $Result }
    if ($Result.Trouble -and (Test-Local $name)) {
        Stop-Kit $WrongAddress "Nothing answers at $url. Check OPENCLAW_URL in .env; if that is your own OpenClaw, start it first."
    }
    if ($said -ge 500 -and $said -ne 511) {
        Stop-Kit $UpstreamDown "The gateway has trouble of its own (it answered $said). Try again in a minute, or tell the operator."
    }
    $script:SecondsLeft = [Math]::Max(4, $script:SecondsLeft)
    $probe = Invoke-Gateway 4 GET $ProbeUrl
    $way = 'none'
    if (-not $probe.Trouble) {
        if ($probe.Status -eq 204 -or ($probe.Status -eq 200 -and $probe.Answer -match '^success\s*$')) { $way = 'open' }
        else { $way = 'portal' }
    }
    if ($said -eq 511 -or $way -eq 'portal') { Stop-Captive }
    if ($said) {
        # Something answered that is no gateway.
        $is_page = ($said -ge 300 -and $said -lt 400) -or ($said -eq 200 -and $Result.Answer.Contains('<'))
        if ($way -eq 'none' -and $is_page) { Stop-Captive }
        Stop-Kit $WrongAddress "There is something at $url, but no gateway. Compare OPENCLAW_URL in .env with the address that your operator has told you."
    }
    if ($way -ne 'open') {
        Stop-Kit $NoNetwork "There is no internet connection. Join the Wi-Fi, open any web page to see that it works, then run this again."
    }
    Assert-Clock $probe
    if ($Result.Trouble -eq 'name') {
        Stop-Kit $WrongAddress "There is no computer called $name. Compare OPENCLAW_URL in .env with the address that your operator has told you."
    }
    if ($Result.Trouble -eq 'tls') {
        Stop-Kit $WrongAddress "No secure connection to $name can be made. Compare OPENCLAW_URL in .env with what your operator has told you, switch off a VPN if you have one, and run this again."
    }
    Stop-Kit $WrongAddress "The internet is there, but $name doesn't answer. Compare OPENCLAW_URL in .env with what your operator has told you, switch off a VPN if you have one, and run this again."
}

function Stop-Captive {
    Stop-Kit $CaptivePortal "The Wi-Fi wants you to sign in first. Open http://neverssl.com in your browser, accept what it asks there, then run this again."
}
