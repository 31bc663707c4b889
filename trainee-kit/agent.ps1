# Your first agent: asks about your business and writes a workflow for it, word by word.
#
#   powershell -ExecutionPolicy Bypass -File .\agent.ps1                      asks three questions, then answers
#   powershell -ExecutionPolicy Bypass -File .\agent.ps1 "What can you do?"   answers this
#
# What it is like is in .claude/agents/project-agent.json; what it wrote is kept in PLANNING/.
# It ends as setup.ps1 does (.\setup.ps1 --help); Ctrl-C stops it.

$Kit = $PSScriptRoot
foreach ($part in 'settings', 'gateway', 'stream') {
    $file = Join-Path $Kit "lib/$part.ps1"
    if (-not (Test-Path -LiteralPath $file)) {
        [Console]::Error.WriteLine('A part of the kit is missing. Unzip the whole kit into a folder, then run agent.ps1 there.')
        exit 1
    }
    . $file
}

# A longer conversation begins anew, in characters.
$LongestConversation = 60000

# The agent's instructions.
function Get-Instructions {
    $file = Join-Path $Kit '.claude/agents/project-agent.json'
    try {
        $page = ConvertFrom-Json ([IO.File]::ReadAllText($file))
        $prompt = [string]$page.'project-agent'.prompt
    } catch {
        $prompt = ''
    }
    if (-not $prompt) {
        Stop-Kit $WrongUse "The agent's instructions can't be read. Unzip the kit again, and keep .claude/agents/project-agent.json."
    }
    $prompt
}

# A line from the person; nothing where there is none any more.
function Read-Line([string]$Question) {
    if (Test-Interactive) {
        [Console]::Error.Write("`n$Question`n> ")
    }
    [Console]::In.ReadLine()
}

# Where this conversation is kept: PLANNING/workflow-1.md and so on.
function New-Page {
    $folder = Join-Path $Kit 'PLANNING'
    for ($number = 1; Test-Path -LiteralPath (Join-Path $folder "workflow-$number.md"); $number++) { $null = $number }
    $page = Join-Path $folder "workflow-$number.md"
    try {
        $null = New-Item -ItemType Directory -Force -Path $folder
        [IO.File]::WriteAllText($page, '')
        $page
    } catch {
        ''
    }
}

# Keeps what was asked or answered.
function Save-Words([string]$Words) {
    if (-not $script:Page) { return }
    try { [IO.File]::AppendAllText($script:Page, "$Words`n`n", (New-Object System.Text.UTF8Encoding($false))) }
    catch { $script:Page = '' }
}

# Asks the agent, shows what it says while it says it, and keeps it.
function Invoke-Conversation([string]$Words) {
    Save-Words ('> ' + $Words.Replace("`n", "`n> "))
    $length = $Words.Length
    foreach ($message in $script:Messages) { $length += $message.content.Length }
    if ($length -gt $LongestConversation) { $script:Messages = @($script:Messages[0]) }
    $script:Messages += @{ role = 'user'; content = $Words }
    $model = $Settings.MODEL
    if (-not $model) { $model = 'openclaw/default' }
    $script:Spoken = ''
    $is_whole = $false
    try {
        Invoke-Stream (ConvertTo-Json -Compress -Depth 5 @{ model = $model; stream = $true; messages = $script:Messages })
        $is_whole = $true
    } finally {
        # After Ctrl-C too: what was said so far is kept.
        if ($is_whole -or $script:Spoken) { Save-Words $script:Spoken }
    }
    $script:Messages += @{ role = 'assistant'; content = $script:Spoken }
}

$script:Messages = @(@{ role = 'system'; content = (Get-Instructions) })
Read-Settings $Kit
Complete-Settings
if (-not ($Settings.OPENCLAW_GATEWAY_KEY + $Settings.OPENAI_API_KEY)) {
    Stop-Kit $BadSettings "You have no key yet. Run ``.\setup.ps1`` first."
}
$script:Page = New-Page

if ($args.Count -gt 0) {
    Invoke-Conversation ($args -join ' ')
    exit 0
}
$task = ''
foreach ($question in 'What does your business do?',
    'Which task costs you the most time every week?',
    'What do you use for it today (email, a spreadsheet, paper ...)?') {
    $heard = Read-Line $question
    if ($null -eq $heard) { Stop-Kit $WrongUse "There was no answer to: $question" }
    $task += "$question`n$heard`n"
}
Invoke-Conversation $task
while ($heard = Read-Line 'Ask about it, or press Enter to end:') { Invoke-Conversation $heard }
if ($script:Page) { Write-Host ('Kept in PLANNING/' + (Split-Path -Leaf $script:Page)) }
exit 0
