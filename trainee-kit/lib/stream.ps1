# An agent's answer while it is being written. agent.ps1 reads this file, after gateway.ps1.

# How often a request is sent again that was not begun, and the longest wait before that, in seconds.
$MostTries = 4
$LongestWait = 60

# For how long nothing at all may come, in seconds. Minutes may pass until the first word.
$Silence = 200

# Sends a request for a stream of server-sent events and shows what is said in it, which ends up in
# $script:Spoken. What isn't answered ends the script, in the gateway's words.
function Invoke-Stream([string]$Body) {
    for ($try = 1; $true; $try++) {
        $result = Show-Stream $Body
        if ($result.Status -eq 200) { break }
        $code = (Get-ItsWords $result).Code
        $seconds = $result.RetryAfter
        $helps = 'upstream_busy', 'concurrency_limit_exceeded', 'rate_limit_exceeded' -contains $code
        if (-not $helps -or $null -eq $seconds -or $seconds -gt $LongestWait -or $try -ge $MostTries) { Stop-Refused $result }
        [Console]::Error.WriteLine("It isn't your turn yet. Trying again in $seconds s.")
        Start-Sleep -Seconds $seconds
    }
    [Console]::Out.WriteLine()
}

# One try: its head, and its body where it is no stream.
function Show-Stream([string]$Body) {
    $result = @{ Trouble = ''; Status = 0; Answer = ''; Date = $null; RetryAfter = $null }
    $script:Spoken = ''
    $script:Ended = $false
    $request = New-Request POST ($Settings.OPENCLAW_URL + '/v1/chat/completions') $Body
    try {
        $sending = $Client.SendAsync($request, [System.Net.Http.HttpCompletionOption]::ResponseHeadersRead)
        if (-not (Wait-Task $sending $Silence)) { $result.Trouble = 'timeout' }
        elseif ($sending.IsFaulted -or $sending.IsCanceled) { $result.Trouble = Get-Trouble $sending.Exception }
        else {
            Set-Head $result $sending.Result
            Read-Events $result $sending.Result
        }
    } catch {
        $result.Trouble = Get-Trouble $_.Exception
    }
    if ($result.Status -eq 0) { Stop-Unanswered $result }
    if ($result.Status -ne 200) { return $result }
    if (-not $script:Ended -and -not $script:Spoken) {
        # A whole answer where a stream was asked for, or something else altogether.
        $whole = Read-Json $result.Answer
        if ($whole -and $whole.choices) {
            Show-Words $whole.choices[0].message.content
            return $result
        }
        Stop-Unanswered $result
    }
    if (-not $script:Ended -or $result.Trouble) {
        [Console]::Error.WriteLine()
        Save-Words $script:Spoken
        Stop-Kit $UpstreamDown "The answer broke off. Your connection or the agent was lost: ask again."
    }
    $result
}

# Reads the lines of an answer as they come.
function Read-Events($Result, $Response) {
    $opening = $Response.Content.ReadAsStreamAsync()
    $reader = New-Object System.IO.StreamReader($opening.Result, [Text.Encoding]::UTF8)
    try {
        while ($true) {
            $reading = $reader.ReadLineAsync()
            if (-not (Wait-Task $reading $Silence)) {
                $Result.Trouble = 'timeout'
                return
            }
            if ($reading.IsFaulted -or $reading.IsCanceled) {
                $Result.Trouble = 'broken'
                return
            }
            $line = $reading.Result
            if ($null -eq $line) { return }
            if ($line -eq 'data: [DONE]') { $script:Ended = $true }
            elseif ($line.StartsWith('data:') -and $Result.Status -eq 200) { Show-Event $line.Substring(5) }
            elseif ($Result.Answer.Length -lt 100000) { $Result.Answer += $line }
        }
    } finally {
        $reader.Dispose()
    }
}

# Ends where an answer can't have been one of ours.
function Stop-Unanswered($Result) {
    if ($Result.Trouble -eq 'timeout') {
        Stop-Kit $UpstreamDown "The agent took too long to answer. Ask again in a minute; if it stays so, tell the operator."
    }
    if (-not $Result.Status -and -not $Result.Trouble) { $Result.Trouble = 'broken' }
    Stop-Diagnosed $Result
}

# One event of the stream: a few words, or an error.
function Show-Event([string]$Data) {
    $event_said = Read-Json $Data
    if (-not $event_said) { return }
    if ($event_said.error) {
        $text = (Get-ItsWords @{ Answer = $Data }).Text
        if (-not $text) { $text = 'The agent stopped with an error. Ask again.' }
        [Console]::Error.WriteLine()
        Stop-Kit $UpstreamDown "$text"
    }
    if ($event_said.choices) { Show-Words $event_said.choices[0].delta.content }
}

# Shows words as they come.
function Show-Words([string]$Words) {
    $plain = Get-Plain $Words
    $script:Spoken += $plain
    [Console]::Out.Write($plain)
}
