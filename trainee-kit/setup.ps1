# Makes this computer ready for your agent. What it does and how it ends: .\setup.ps1 --help
#
#   powershell -ExecutionPolicy Bypass -File .\setup.ps1
#
# It needs Windows PowerShell 5.1 or PowerShell 7, no administrator, and nothing else.

$Usage = @'
Use: .\setup.ps1                checks your settings, gets your key, tries the agent: "Agent ready."
     .\setup.ps1 --doctor       says what is wrong, if something is, and changes nothing
     .\setup.ps1 --auth codex   signs you in with a code in your browser, where that is needed
     .\setup.ps1 --help         this text

It may be run again at any time. It ends with
  0  Agent ready.
  1  used wrongly, or a part of the kit is missing
  2  a setting in .env is missing, can't be right, or can't be saved
  3  no internet connection
  4  the Wi-Fi wants you to sign in first
  5  the address in .env isn't a gateway's, or it doesn't answer
  6  not let in: the key, the code or the sign-in is not good
  7  nothing more for now: blocked, no requests left, or too many at once
  8  the gateway or the agent behind it has trouble
  9  this computer's clock is wrong
'@

$Kit = $PSScriptRoot
foreach ($part in 'settings', 'gateway', 'sign-in') {
    $file = Join-Path $Kit "lib/$part.ps1"
    if (-not (Test-Path -LiteralPath $file)) {
        [Console]::Error.WriteLine('A part of the kit is missing. Unzip the whole kit into a folder, then run setup.ps1 there.')
        exit 1
    }
    . $file
}

# Turns the claim code into a gateway key, which is in .env before anything else happens.
function Invoke-Claim {
    if (-not (Test-Writable $Kit)) {
        Stop-Kit $BadSettings "Your key couldn't be saved here: the folder $Kit can't be written to. Move the kit to a folder of your own, such as Documents, and run this again."
    }
    $body = ConvertTo-Json -Compress @{ user_id = $Settings.USER_ID; code = $Settings.CLAIM_CODE }
    $result = Invoke-Gateway 8 POST ($Settings.OPENCLAW_URL + '/onboarding/claim') $body
    if ($result.Trouble) { Stop-Diagnosed $result }
    $claimed = Read-Json $result.Answer
    if ($result.Status -eq 201 -and $claimed.gateway_key) {
        $Settings.OPENCLAW_GATEWAY_KEY = [string]$claimed.gateway_key
        $Settings.CLAIM_CODE = ''
        if (-not (Write-Settings $Kit)) {
            Stop-Kit $BadSettings "Your key couldn't be saved in .env. Ask the operator for a new code and run this again, in a folder of your own."
        }
        Write-Host '  ok  Your key is in .env now. Keep that file to yourself.'
        return
    }
    # A code that was used may have been used here.
    if ($result.Status -eq 410) {
        $file = Join-Path $Kit '.env'
        if (-not $Settings.OPENCLAW_GATEWAY_KEY -and (Test-Path -LiteralPath $file)) { Read-SettingsFile $file }
        if ($Settings.OPENCLAW_GATEWAY_KEY) {
            $Settings.CLAIM_CODE = ''
            return
        }
    }
    Stop-Refused $result
}

# One real request, as the agent will send them: nothing where it was answered, else the refusal.
function Test-Agent {
    $model = $Settings.MODEL
    if (-not $model) { $model = 'openclaw/default' }
    $url = $Settings.OPENCLAW_URL
    $messages = @(@{ role = 'user'; content = 'Answer with one word: ready' })
    $body = ConvertTo-Json -Compress -Depth 5 @{ model = $model; messages = $messages }
    $result = Invoke-Gateway 25 POST "$url/v1/chat/completions" $body
    if ($result.Trouble -eq 'timeout') {
        Stop-Kit $UpstreamDown "The gateway is there, but the agent took too long to answer. Run this again in a minute; if it stays so, tell the operator."
    }
    if ($result.Trouble) { Stop-Diagnosed $result }
    if ($result.Status -ne 200) { return $result }
    $answer = Read-Json $result.Answer
    if (-not $answer -or -not ($answer.PSObject.Properties.Name -contains 'choices')) {
        Stop-Kit $WrongAddress "$url answered, but not as an agent does. Check OPENCLAW_URL in .env, or tell the operator."
    }
}

# Waits where the gateway says that waiting helps, for as long as there is time; else ends.
function Wait-ForTurn($Result) {
    $code = (Get-ItsWords $Result).Code
    $seconds = $Result.RetryAfter
    $helps = 'upstream_busy', 'concurrency_limit_exceeded', 'rate_limit_exceeded' -contains $code
    if (-not $helps -or $null -eq $seconds -or $seconds + 3 -gt $script:SecondsLeft) { Stop-Refused $Result }
    Write-Host "  ...  The agent is busy with others. Trying again in $seconds s."
    Start-Sleep -Seconds $seconds
    $script:SecondsLeft -= $seconds
}

# Tries the agent, and gets what it turns out to need.
function Connect-Agent {
    $asked = $false
    while ($true) {
        $result = Test-Agent
        if (-not $result) { return }
        $code = (Get-ItsWords $result).Code
        if ($code -eq 'missing_key' -and $Settings.OPENCLAW_GATEWAY_KEY -and -not $Settings.OPENAI_API_KEY) {
            # Whoever signs in ahead of the switch has no such key, and needs none later.
            if ($script:SignedIn) { return }
            if (-not $asked -and -not $Doctor -and (Request-Setting OPENAI_API_KEY 'Your own API key (sk-...) pays here; it stays hidden while you type' -Hidden)) {
                $asked = $true
                Assert-Settings
                continue
            }
            Stop-Kit $BadSettings "Your own API key (sk-...) is missing. Write it into .env behind OPENAI_API_KEY= and run this again."
        }
        if ($code -eq 'no_codex_session' -or $code -eq 'codex_session_expired') {
            if ($script:SignedIn -or $Doctor -or -not (Test-Interactive)) { Stop-Refused $result }
            Invoke-SignIn
            continue
        }
        Wait-ForTurn $result
    }
}

$script:SignedIn = $false
$words = $args -join ' '
if ($words -eq '--help' -or $words -eq '-h') {
    Write-Host $Usage
    exit 0
}
if ('', '--doctor', '--auth codex' -notcontains $words) {
    [Console]::Error.WriteLine($Usage)
    exit $WrongUse
}
$Doctor = $words -eq '--doctor'

Read-Settings $Kit
# The doctor asks for nothing, and leaves everything as it is.
Complete-Settings -Silent:$Doctor
Write-Host ('  ok  Your settings: ' + $Settings.USER_ID + ' at ' + $Settings.OPENCLAW_URL)

$health = Invoke-Gateway 6 GET ($Settings.OPENCLAW_URL + '/health')
if (-not (Test-Healthy $health)) { Stop-Diagnosed $health }
Write-Host '  ok  The gateway answers'

if ($Doctor) {
    Assert-Clock $health
    if (-not ($Settings.OPENCLAW_GATEWAY_KEY + $Settings.OPENAI_API_KEY)) {
        Stop-Kit $BadSettings "There is a code in .env, and no key yet. Run ``.\setup.ps1`` first."
    }
} else {
    if ($Settings.CLAIM_CODE) { Invoke-Claim }
    if (-not (Write-Settings $Kit)) { Write-Host "  !!  .env couldn't be saved here; everything else goes on." }
}

if ($words -eq '--auth codex') { Invoke-SignIn }
Connect-Agent
if (-not $Doctor) { $null = Write-Settings $Kit }
Write-Host '  ok  The agent answered'
Write-Host ''
Write-Host 'Agent ready.'
if (-not $Doctor) { Write-Host 'Begin with:  powershell -ExecutionPolicy Bypass -File .\agent.ps1' }
exit 0
