# Signing in by device code: the browser shows who you are, the gateway keeps the tokens, and none of
# them touches this computer. setup.ps1 reads this file, after gateway.ps1.

# For how long a sign-in is waited for while nothing can be heard of it, in seconds.
$LongestSilence = 900

# Shows an address and a code, and waits until the person has signed in.
function Invoke-SignIn {
    $url = $Settings.OPENCLAW_URL + '/onboarding/codex/device'
    $result = Invoke-Gateway 10 POST $url
    if ($result.Trouble) { Stop-Diagnosed $result }
    $begun = Read-Json $result.Answer
    if ($result.Status -ne 201 -or -not $begun.id) { Stop-Refused $result }
    $id = [string]$begun.id
    if ($id -cnotmatch '^[-A-Za-z0-9._~]+$') { Stop-Diagnosed $result }
    $interval = 5
    if ([string]$begun.interval -match '^[0-9]{1,3}$') { $interval = [int]$begun.interval }
    Write-Host ''
    Write-Host ('1. Open this page in your browser:  ' + (Get-Plain $begun.verification_uri))
    Write-Host ('2. Type this code there:            ' + (Get-Plain $begun.user_code))
    Write-Host 'Waiting for you to finish. Keep this window open.'

    $silence = $null
    while ($true) {
        Start-Sleep -Seconds $interval
        # Typing in a browser takes as long as it takes.
        $script:SecondsLeft = 25
        $result = Invoke-Gateway 10 GET "$url/$id"
        $standing = Read-Json $result.Answer
        # A venue's sign-in page is no answer of the gateway's.
        if ($result.Trouble -or $result.Status -ge 500 -or $result.Status -eq 429 -or -not $standing) {
            if (-not $silence) {
                $silence = [Diagnostics.Stopwatch]::StartNew()
                Write-Host 'The connection is gone. Your sign-in goes on; waiting for the connection to come back.'
            }
            if ($silence.Elapsed.TotalSeconds -ge $LongestSilence) { Stop-Diagnosed $result }
            continue
        }
        if ($silence) { Write-Host 'The connection is back.' }
        $silence = $null
        if ($result.Status -ne 200) { Stop-Refused $result }
        $state = [string]$standing.state
        if ($state -eq 'signed_in') { break }
        if ($state -eq 'denied') { Stop-Kit $NotLetIn "The sign-in was declined. Run this again when you are ready." }
        if ($state -ne 'pending') { Stop-Kit $NotLetIn "The sign-in took too long, and the code is no longer good. Run this again." }
    }
    $script:SignedIn = $true
    $script:SecondsLeft = 25
    Write-Host ('Signed in. Nothing else changes: the same address, the same USER_ID (' + $Settings.USER_ID + ').')
}
